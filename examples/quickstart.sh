#!/usr/bin/env bash
# The whole chain on one machine: PySCF data, preprocessing, training, prediction, bands. Steps that are done are skipped on a rerun.
# Usage, from the root of the checkout: bash examples/quickstart.sh quickstart
set -euo pipefail
out=${1:-quickstart}

python examples/pyscf_quickstart.py "$out/runs"
deeph-preprocess "$out/runs/train" "$out/data" --verify bands
deeph-preprocess "$out/runs/test" "$out/test" --verify bands
resume=()
[ -e "$out/model/resume.safetensors" ] && resume=(--resume)
deeph-train configs/quickstart.toml --set "data.path=$out/data" --out "$out/model" "${resume[@]}"
deeph-infer "$out/model" "$out/test/hbn" "$out/predicted" --overwrite
deeph-bands "$out/predicted/hbn" --compare "$out/test/hbn" --path GMKG --window -10 8 --out "$out/bands.pdf"
