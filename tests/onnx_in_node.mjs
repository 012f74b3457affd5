// node onnx_in_node.mjs MODEL ROWS.json: the logits of every row of token ids, as JSON, by WebAssembly.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.cwd() + "/");
const ort = require("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const [model, rows] = process.argv.slice(2);
const session = await ort.InferenceSession.create(readFileSync(model), { executionProviders: ["wasm"] });
const logits = [];
for (const ids of JSON.parse(readFileSync(rows, "utf8"))) {
  const shape = [1, ids.length];
  const found = await session.run({
    input_ids: new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), shape),
    attention_mask: new ort.Tensor("int64", new BigInt64Array(ids.length).fill(1n), shape),
  });
  logits.push([...found.logits.data]);
}
console.log(JSON.stringify(logits));
