#!/bin/sh
# Makes sure that each program given is there: PROGRAM, or PROGRAM:PACKAGE if Debian's
# package has another name. It installs what is missing where that needs no password, and
# says what to install where it does.
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
