#!/bin/sh
# What the default build and the tests on a real Kafka need beside a Rust toolchain: compilers, libclang and perl for librdkafka, OpenSSL and
# RocksDB; Java and Maven for the broker, and for an application of Kafka Streams to take over. Says nothing when all of it is there.
# Installs it where that is possible without asking (root and apt-get), else says what is missing.
set -eu

missing=""
need() { # package, and a test for it
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
any() { # one of several files
    for file in "$@"; do [ -e "$file" ] && return 0; done
    return 1
}

need gcc command -v cc
need g++ command -v c++
need make command -v make
need perl command -v perl
any /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* /usr/lib64/libclang*.so* /usr/lib/libclang*.so* "${LIBCLANG_PATH:-/nowhere}" ||
    missing="$missing libclang-dev"
need openjdk-17-jdk-headless javac -version
need maven command -v mvn

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing" >&2
    # A compiler cache makes the second build of the C and C++ parts cheap; nothing fails without it.
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    # shellcheck disable=SC2086 # words
    apt-get install -y -qq --no-install-recommends $missing ccache >&2
else
    echo "missing:$missing. On Debian and Ubuntu: sudo apt-get install$missing" >&2
    exit 1
fi
