#!/bin/sh
# Checks that each given program is installed: PROGRAM, or PROGRAM:PACKAGE if Debian's
# package has another name. It installs missing packages as root, and otherwise prints the
# command that installs them.
set -eu
for want in "$@"; do
	program=${want%%:*} package=${want##*:}
	command -v "$program" >/dev/null && continue
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package"
	else
		echo "$program is missing. Debian, Ubuntu: sudo apt-get install $package" >&2
		exit 1
	fi
done
