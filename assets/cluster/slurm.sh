#!/usr/bin/env bash
# A run over the nodes of a Slurm job, one GPU a worker:
#
#     sbatch slurm.sh --model llm-jp/llm-jp-3-13b --method both
#
# Submit it from the folder that is to have `runs/`, with an environment active in which this package and ray are
# installed, on a disk that all nodes see. Submitted again, it goes on with the same run.
#
# Tried: its start, run and end with two Ray nodes on one machine, `srun` and `scontrol` replaced by scripts that do the
# same there. Not tried: Slurm itself, and GPUs.
#SBATCH --job-name=jglue
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
port=$((20000 + SLURM_JOB_ID % 20000))
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname -i | awk '{ print $1 }')

# Other users of the machines must not get at the workers: they run what they are sent.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
export RAY_USAGE_STATS_ENABLED=0

# What is started here ends with the job.
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT

# CPUs and GPUs as Slurm lends them: Ray would count those of the whole machine.
size=(--num-cpus="${SLURM_CPUS_PER_TASK:-1}" --num-gpus="${SLURM_GPUS_ON_NODE:-0}")
srun --nodes=1 --ntasks=1 --overlap --nodelist="$head" \
  ray start --head --block --node-ip-address="$address" --port="$port" --include-dashboard=false "${size[@]}" &
for _ in $(seq 60); do
  ray health-check --address "$address:$port" 2>/dev/null && break
  sleep 1
done
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --overlap --nodelist="$node" ray start --block --address="$address:$port" "${size[@]}" &
done

# Two minutes before its end the job gets SIGTERM, and passes it on: the run stops in order.
python -m jglue_app run --ray "$address:$port" --device auto "$@" &
run=$!
trap 'kill -TERM "$run" 2>/dev/null || true' TERM
code=0
wait "$run" || code=$?
while kill -0 "$run" 2>/dev/null; do
  code=0
  wait "$run" || code=$?
done
exit "$code"
