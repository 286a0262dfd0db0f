#!/bin/sh
# The compiler for the workspace's members (RUSTC_WORKSPACE_WRAPPER), with the coverage counters that libFuzzer reads.
# These are options of the stable compiler; the dependencies from the registry stay as they are and are not built again.
case "$*" in
    *build_script_build*) exec "$@" ;;
esac
exec "$@" \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
