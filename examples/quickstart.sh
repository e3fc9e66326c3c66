#!/usr/bin/env bash
# The whole chain on one machine: PySCF data, training, prediction, bands. Steps that are done are skipped on a rerun.
# Usage, from the root of the checkout: bash examples/quickstart.sh quickstart
set -euo pipefail
out=${1:-quickstart}

deeph-pyscf examples/hbn_displaced.toml "$out/data" -j 2
deeph-pyscf examples/hbn.toml "$out/test"
resume=()
[ -e "$out/model/resume.safetensors" ] && resume=(--resume)
deeph-train configs/quickstart.toml --set "data.path=$out/data" --out "$out/model" "${resume[@]}"
deeph-infer "$out/model" "$out/test/hbn" "$out/predicted" --overwrite
deeph-bands "$out/predicted/hbn" --compare "$out/test/hbn" --path GMKG --window -10 8 --out "$out/bands.pdf"
