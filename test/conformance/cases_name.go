package conformance

import (
	"fmt"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

// nameRows test keys and owners, which are 1 to 1024 opaque bytes.
func nameRows() []row {
	const rule = "Keys and owners are opaque: two that differ in one byte are different, and no byte has a meaning."
	rows := []row{}
	for _, n := range nameSets {
		var needs []string
		if n.nonUTF8 {
			needs = []string{needAnyBytes}
		}
		rows = append(rows,
			row{name: "a key " + n.property, rule: rule, needs: needs, check: func(f *fixture) { differentKeys(f, n.names) }},
			row{name: "an owner " + n.property, rule: rule, needs: needs, check: func(f *fixture) { differentOwners(f, n.names) }})
	}
	return rows
}

// nameSets are names that a store might confuse or corrupt.
var nameSets = []struct {
	property string
	names    []string
	nonUTF8  bool // some are not valid UTF-8
}{{
	property: "keeps its case",
	names:    []string{"disk", "Disk", "DISK"},
}, {
	property: "keeps its white space",
	names:    []string{"disk", " disk", "disk ", "do or", "do  or", "disk\t", "disk\n", "disk\r\n", " "},
}, {
	property: "may be a prefix of another",
	names:    []string{"d", "di", "disk", "disk/", "disk/1", "disk/11"},
}, {
	property: "may have glob characters",
	names:    []string{"*", "?", "**", "d*", "d?", "d[ai]", "d[^i]", "di", "da", `d\*`, `d\`, `\`},
}, {
	property: "may have separators",
	names:    []string{"a||b", "a|b", "a||b||", "||", "a:b", "a/b", "a//b", "a/./b", "a/../b", "a,b", "a;b", "a.b"},
}, {
	property: "may have syntax",
	names:    []string{"%s", "%00", "$1", "{a}b", "{a}c", `"`, "'", "`", "<a>", "a=b", "a&b", "-a", "0", "00", "nil"},
}, {
	property: "may have control characters",
	names:    []string{"a", "a\x00", "a\x00b", "\x00", "\x00a", "\x01", "\x1b", "\x7f"},
}, {
	property: "may be in any script",
	names: []string{"ключ", "鍵", "🔑", "ß", "ss", "ſ", "s", "a", "\ufeffa", "\ufffd",
		"\u00e9", "e\u0301", // é, composed and decomposed
		"k", "\u212a", // K and the kelvin sign, equal under case folding
	},
}, {
	property: "may be 1024 bytes long",
	names:    []string{longName("a"), longName("b"), longName("a")[1:], "b" + longName("a")[1:]},
}, {
	property: "may have any bytes",
	names:    []string{"\xff", "\xfe", "\xff\xff", "a\xffb", "a\x80b", "\xc3\x28", "\xc0\xaf", "\ufffd", "ab"},
	nonUTF8:  true,
}}

// longName returns a name that makes a key of the maximum length and ends in last.
func longName(last string) string {
	return strings.Repeat("x", stores.MaxKeyLen-prefixLen-len(last)) + last
}

// differentKeys acquires all of the keys, and then releases them one by one.
func differentKeys(f *fixture, keys []string) {
	s, other := f.open(), f.open()
	for i, key := range keys {
		s.mustLock(key, nth("owner", i))
	}
	for i, key := range keys {
		other.mustRefuse(key, "intruder")
		other.unlockFails(key, nth("owner", i+1), stores.ErrNotOwner)
	}
	for i, key := range keys {
		other.mustUnlock(key, nth("owner", i))
		s.unlockFails(key, nth("owner", i), stores.ErrNotHeld)
	}
}

// differentOwners lets each owner acquire a lock that none of the others can release. The
// owners get the prefix of keys, so that they have the same length.
func differentOwners(f *fixture, owners []string) {
	s, other := f.open(), f.open()
	for i, owner := range owners {
		disk := nth("disk", i)
		s.mustLock(disk, f.key(owner))
		other.mustRefuse(disk, f.key(owner))
		for j, stranger := range owners {
			if i != j {
				other.unlockFails(disk, f.key(stranger), stores.ErrNotOwner)
			}
		}
		other.mustUnlock(disk, f.key(owner))
	}
}

// nth returns name with a number.
func nth(name string, i int) string { return fmt.Sprintf("%s-%03d", name, i) }
