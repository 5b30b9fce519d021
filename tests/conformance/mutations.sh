#!/bin/sh
# Checks the conformance runner: breaks the engine on purpose, once for every patch beside this script, and wants at least ten
# cases to fail each time. What is committed is what gets broken, in a worktree of its own.
#   tests/conformance/mutations.sh FOLDER-OF-CASES
set -eu
AT_LEAST=10
cases=$(cd "${1:?say which folder of cases}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
repository=$(git -C "$here" rev-parse --show-toplevel)
tree=$(mktemp -d)/mutated
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/highwater/target}/mutations
export CARGO_TARGET_DIR

git -C "$repository" worktree add --quiet --detach "$tree" HEAD
trap 'git -C "$repository" worktree remove --force "$tree"; rmdir "$(dirname "$tree")"' EXIT

# Prints how many cases fail. A build that fails is no mutation: it stops the script.
failures() {
    build=$(cargo build --quiet --locked --manifest-path "$tree/Cargo.toml" --test conformance 2>&1) || { echo "$build" >&2; exit 1; }
    last=$(cargo test --quiet --locked --manifest-path "$tree/Cargo.toml" --test conformance -- "$cases" 2>/dev/null | tail -n 1)
    case $last in
        *" passed, "*" failed, "*" skipped") last=${last#* passed, }; echo "${last%% failed*}" ;;
        *) echo "the runner did not finish: $last" >&2; exit 1 ;;
    esac
}

unchanged=$(failures)
[ "$unchanged" -eq 0 ] || { echo "$unchanged cases fail without any mutation: repair that first" >&2; exit 1; }

weak=0
for patch in "$here"/mutations/*.patch; do
    name=$(basename "$patch" .patch)
    git -C "$tree" apply -C1 "$patch" || { echo "mutation $name no longer applies: write it anew" >&2; exit 1; }
    found=$(failures)
    echo "mutation $name: $found cases fail"
    [ "$found" -ge "$AT_LEAST" ] || { echo "mutation $name: fewer than $AT_LEAST cases notice it" >&2; weak=1; }
    git -C "$tree" checkout --quiet -- .
done
exit "$weak"
