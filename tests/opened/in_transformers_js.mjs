// node in_transformers_js.mjs FOLDER EXPECTED.json: labels and logits of 200 rows against those that ours.py wrote.
import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { env, pipeline } from "@huggingface/transformers";

const [folder, file] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = `${dirname(folder)}/`;
const expected = JSON.parse(readFileSync(file, "utf8"));
for (const dtype of ["fp32", "int8"]) {
  const classify = await pipeline("text-classification", basename(folder), { dtype, device: "cpu" });
  for (let start = 0; start < 200; start += 40) {
    const wanted = expected[dtype].slice(start, start + 40);
    const found = await classify(expected.texts.slice(start, start + 40));
    found.forEach(({ label }, row) => {
      const largest = wanted[row].indexOf(Math.max(...wanted[row]));
      if (label !== expected.labels[largest]) throw new Error(`${dtype}, row ${start + row}: ${label}`);
    });
  }
  await classify.dispose();
}
console.log("fp32 and int8 agree on 200 rows");
