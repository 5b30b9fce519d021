#!/bin/sh
# Checks the checkers: breaks the engine on purpose, once for every patch beside this script, and wants each break to be found. What is
# committed is what gets broken, in a worktree of its own, never in this one.
#   tests/broken/run.sh                         by the simulation, within SEEDS (1000) seeds
#   WITH=kill-table tests/broken/run.sh         by the kill table, by the rows that kill-table.rows has for each
#   WITH='command …' tests/broken/run.sh        by any command that fails when it finds something; it runs in the broken tree
#   ONLY=3 tests/broken/run.sh                  the patches whose names begin so
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repository=$(git -C "$here" rev-parse --show-toplevel)
target=${CARGO_TARGET_DIR:-$HOME/.cache/highwater/target}/broken
tree=$target/tree
SEEDS=${SEEDS:-1000}
export CARGO_TARGET_DIR="$target"
report=$(mktemp)

case ${WITH:-simulation} in
    simulation)
        build="cargo test --quiet --locked --test sim --no-run"
        check="env SEEDS=$SEEDS FAILURES=1 cargo test --quiet --locked --test sim -- nothing_that_befalls"
        sound="env SEEDS=100 FAILURES=1 cargo test --quiet --locked --test sim -- nothing_that_befalls"
        says="^seed "
        ;;
    kill-table)
        build="cargo test --quiet --locked --features failpoints --test kill --no-run"
        check="cargo test --quiet --locked --features failpoints --test kill"
        sound="env ONLY= SAMPLE=6 cargo test --quiet --locked --features failpoints --test kill"
        says="FAILED|failed|found"
        rows=$here/kill-table.rows # a few rows for each patch: all of them take minutes
        ;;
    *)
        build="cargo build --quiet --locked"
        check=$WITH
        sound=$WITH
        says="."
        ;;
esac

# A tree that a stopped run has left is in the way.
git -C "$repository" worktree remove --force "$tree" 2>/dev/null || true
rm -rf "$tree"
git -C "$repository" worktree prune
mkdir -p "$target"
git -C "$repository" worktree add --quiet --detach "$tree" HEAD
trap 'git -C "$repository" worktree remove --force "$tree"; rm -f "$report"' EXIT

# A build that fails is no broken build: it stops the script.
build() {
    (cd "$tree" && sh -c "$build") >"$report" 2>&1 || { cat "$report" >&2; echo "it does not build: write the patch anew" >&2; exit 1; }
}

patches=$(ls "$here/${ONLY:-}"*.patch)
count=$(echo "$patches" | wc -l)

printf '[0/%s] unbroken … ' "$count"
build
(cd "$tree" && sh -c "$sound") >"$report" 2>&1 || { cat "$report" >&2; echo "something is found in the engine as it is: repair that first" >&2; exit 1; }
echo "nothing found"

missed=0
number=0
for patch in $patches; do
    number=$((number + 1))
    name=$(basename "$patch" .patch)
    printf '[%s/%s] %s … ' "$number" "$count" "$name"
    git -C "$tree" apply -C1 --recount "$patch" || { echo "the patch no longer applies: write it anew" >&2; exit 1; }
    begun=$(date +%s)
    build
    if (cd "$tree" && sh -c "env ONLY= $(sed -n "s/^$name //p" "${rows:-/dev/null}") $check") >"$report" 2>&1; then
        echo "NOT FOUND after $(($(date +%s) - begun)) s"
        missed=1
    else
        echo "found in $(($(date +%s) - begun)) s"
        echo "      $(grep -E -m 1 "$says" "$report" | cut -c1-300)"
    fi
    git -C "$tree" checkout --quiet -- .
done
exit "$missed"
