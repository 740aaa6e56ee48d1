#!/bin/sh
# Runs every fuzz test of the main module for the given time, one after the other, because
# go test accepts one at a time.
set -eu
cd "$(dirname "$0")/.."
grep -rl --include='*_test.go' '^func Fuzz' cli client component internal stores | while read -r file; do
	for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$file"); do
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$1" "./$(dirname "$file")" </dev/null
	done
done
