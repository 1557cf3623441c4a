#!/usr/bin/env bash
# Teaches and judges every public data set with several seeds and prints one line per run and the means: the table of docs/accuracy.md.
# usage: scripts/accuracy.sh [takt teach options, such as --bank 1024 or --method padim]
#   TAKT       the program            (default target/debug/takt, which make builds)
#   TAKT_DATA  folder of data sets    (default ../shared/data)
#   SETS       data sets              (default "magnetic_tile aws_cookie aws_aliens deeppcb_mvtec")
#   SEEDS      seeds                  (default "0 1 2")
set -euo pipefail

takt=${TAKT:-target/debug/takt}
data=${TAKT_DATA:-../shared/data}
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# figure NAME JSON: one number of a JSON object, or null.
figure() { grep -o "\"$1\":[^,}]*" <<<"$2" | head -n 1 | cut -d : -f 2; }

printf '%-14s %-5s %9s %9s %9s %9s %9s %9s\n' set seed auroc pixel aupro rejects escapes recall
for set in ${SETS:-magnetic_tile aws_cookie aws_aliens deeppcb_mvtec}; do
    for seed in ${SEEDS:-0 1 2}; do
        "$takt" teach --good "$data/$set/train/good" --out "$work/model" --overwrite --seed "$seed" "$@" >/dev/null 2>&1
        result=$("$takt" evaluate --model "$work/model" --dataset "$data/$set" --format json 2>/dev/null)
        row=$(for name in image_auroc pixel_auroc aupro false_reject_rate escape_rate recall_at_false_reject_1pct; do figure "$name" "$result"; done)
        # shellcheck disable=SC2086 # one word per figure
        printf '%-14s %-5s %9.6s %9.6s %9.6s %9.6s %9.6s %9.6s\n' "$set" "$seed" $row
    done
done | tee "$work/rows"
awk 'NF == 8 && NR > 1 { n[$1]++; for (i = 3; i <= 8; i++) { sum[$1, i] += $i; if ($i == "null") missing[$1, i] = 1 } }
    END { for (set in n) { printf "%-14s mean ", set
        for (i = 3; i <= 8; i++) printf " %9s", missing[set, i] ? "null" : sprintf("%.4f", sum[set, i] / n[set])
        print "" } }' "$work/rows"
