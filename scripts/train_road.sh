#!/bin/bash
# The three stages of a folder of recipes, one after another, on the GPUs of one node:
#   GPUS=4 scripts/train_road.sh recipes/qwen2.5-vl-7b out/qwen 'data=[mine.parquet]'
# Run again after a stop, it goes on where it was.
set -euo pipefail
recipes=${1:?give a folder of recipes} out=${2:?give a folder to write}
shift 2

train() {
    if [ "${GPUS:-1}" -gt 1 ]; then
        accelerate launch --config_file recipes/accelerate/ddp.yaml --num_processes "$GPUS" -m emocaliber train "$@"
    else
        emocaliber train "$@"
    fi
}

train "$recipes/1-label.yaml" "$@" --out "$out/1-label"
train "$recipes/2-verbalize.yaml" "$@" --adapter "$out/1-label/adapter" --out "$out/2-verbalize"
train "$recipes/3-calibrate.yaml" "$@" --adapter "$out/2-verbalize/adapter" --out "$out/3-calibrate"
