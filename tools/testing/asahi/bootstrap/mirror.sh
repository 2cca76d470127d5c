# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=sh
#
# mirror_of_host: prints "OPTIONS<tab>URI<tab>SUITE" of the first Debian archive that the host's own
# apt is set up for, in either of apt's two formats; nothing where there is none. OPTIONS are those
# that say whom to trust, for a site with an archive of its own.

mirror_of_host() {
	etc=/etc/apt
	for list in "$etc/sources.list" "$etc"/sources.list.d/*.list; do
		[ -r "$list" ] && sed 's/#.*//' "$list"
	done | awk '
	$1 == "deb" {
		options = ""; i = 2
		if ($i ~ /^\[/) {
			while (i <= NF) {
				word = $i; gsub(/[][]/, "", word)
				if (word ~ /^(trusted|signed-by)=/) options = options " " word
				if ($i ~ /\]$/) { i++; break }
				i++
			}
		}
		uri = $i; suite = $(i + 1); main = 0
		for (i += 2; i <= NF; i++) if ($i == "main") main = 1
		if (main) print options "\t" uri "\t" suite
	}'
	for list in "$etc"/sources.list.d/*.sources; do
		# The blank line ends the last stanza of each file.
		[ -r "$list" ] && { sed '/^#/d' "$list"; echo; }
	done | awk '
	function emit(    n, u, m, s, i, j) {
		if (types ~ /(^| )deb( |$)/ && enabled != "no" && components ~ /(^| )main( |$)/) {
			n = split(uris, u, " "); m = split(suites, s, " ")
			for (i = 1; i <= n; i++) for (j = 1; j <= m; j++) print options "\t" u[i] "\t" s[j]
		}
		types = uris = suites = components = enabled = options = ""
	}
	NF == 0 { emit(); next }
	{
		value = $0; sub(/^[^:]*:[ \t]*/, "", value); sub(/[ \t\r]+$/, "", value)
		name = tolower($0); sub(/:.*/, "", name)
		if ($0 ~ /^[ \t]/) next
		if (name == "types") types = value
		if (name == "uris") uris = value
		if (name == "suites") suites = value
		if (name == "components") components = value
		if (name == "enabled") enabled = tolower(value)
		if (name == "trusted" && value != "") options = options " trusted=" tolower(value)
		if (name == "signed-by" && value ~ /^\//) options = options " signed-by=" value
	}'
}

# Of those, the archive itself: an http, https or file one, and not the security archive or a part
# that only adds to another suite. A keyring of Debian's own is mmdebstrap's to find.
pick_mirror() {
	awk -F '\t' '
	$2 ~ /^(https?|file|mirror\+https?):/ && $2 !~ /security/ &&
	$3 ~ /^(bookworm|trixie|forky|sid|stable|oldstable|testing|unstable)$/ {
		n = split($1, word, " "); options = ""
		for (i = 1; i <= n; i++)
			if (word[i] !~ /^signed-by=\/usr\/share\/keyrings\/debian-archive-/)
				options = options (options == "" ? "" : " ") word[i]
		print $2 "\t" options
		exit
	}'
}

# source_line RELEASE: the line to give to mmdebstrap, or nothing to let it use its own default.
source_line() {
	if [ -n "${ASAHI_MIRROR:-}" ]; then
		echo "deb $ASAHI_MIRROR $1 main"
		return
	fi
	# An archive of a distribution derived from Debian does not carry Debian's releases.
	grep -qx 'ID="\{0,1\}debian"\{0,1\}' /etc/os-release 2>/dev/null || return 0
	mirror_of_host | pick_mirror | while IFS="$(printf '\t')" read -r uri options; do
		echo "deb ${options:+[$options] }$uri $1 main"
	done
}

# apt_proxy SCHEME: the proxy that the host's apt is set up for. mmdebstrap does not read it.
apt_proxy() {
	apt-config shell P "Acquire::$1::Proxy" 2>/dev/null | sed "s/^P='\(.*\)'\$/\1/"
}
