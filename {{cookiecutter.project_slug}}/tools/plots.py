"""Draw the plots of dvc.yaml as an offline page and as PNGs: `make plots`, `make plots AGAINST=main`.

DVC decides what to draw. Its own page, `dvc plots show`, loads the drawing scripts from the network.
"""

import html
import json
import sys
from pathlib import Path
from string import Template

import vl_convert

from tools.shared import dvc_json, run, stale, stale_stages

PLOTS = Path("plots")
PIXELS_PER_UNIT = 2
PAGE = Template("""<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<title>Plots</title>
<script>$scripts</script>
</head>
<body>
$places
<script>
for (const [name, spec] of Object.entries($specs)) vegaEmbed(document.getElementById(name), spec);
</script>
</body>
</html>
""")


def main() -> None:
    """Write `plots/index.html` and one PNG for each plot. Raises UserError if the results are of an earlier run."""
    revisions = sys.argv[1:]
    changed = stale_stages(dvc_json("status"))
    specs = specs_in(dvc_json("plots", *(["diff", *revisions] if revisions else ["show"])))
    if not specs:
        raise stale(f"nothing to draw; changed: {', '.join(changed) or 'nothing'}")
    PLOTS.mkdir(exist_ok=True)
    for name, spec in specs.items():
        picture = PLOTS / f"{name}.png"
        picture.write_bytes(vl_convert.vegalite_to_png(spec, scale=PIXELS_PER_UNIT))
        print(picture)
    index = PLOTS / "index.html"
    index.write_text(page(specs), encoding="utf-8")
    print(index)
    if changed:
        raise stale(f"plots of an earlier run; changed since: {', '.join(changed)}")


def specs_in(shown: dict) -> dict[str, dict]:
    """What `dvc plots` would draw, as Vega-Lite, by the plot's name or that of its table."""
    found = {}
    for name, renderers in shown["data"].items():
        for renderer in renderers:
            content = renderer["content"]
            spec = json.loads(content) if isinstance(content, str) else content
            for parameter in spec.get("params", []):
                if parameter["name"] == "showValues":  # the counts in the cells of DVC's confusion matrix
                    parameter["value"] = len({row.get("actual") for row in spec["data"]["values"]}) <= 20
            found[Path(name).stem] = spec
    return found


def page(specs: dict[str, dict]) -> str:
    """The page, with everything that it needs inside it."""
    return PAGE.substitute(
        scripts=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"),
        places="\n".join(f'<div id="{html.escape(name)}"></div>' for name in specs),
        specs=json.dumps(specs).replace("<", r"\u003c"),
    )


if __name__ == "__main__":
    sys.exit(run(main))
