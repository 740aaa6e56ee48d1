package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/mortise-lock/mortise/client"
)

// outputFormat is the form of the output, a flag.
type outputFormat string

const (
	formatTable outputFormat = "table"
	formatJSON  outputFormat = "json"
)

// addFlag adds the flag with its default.
func (f *outputFormat) addFlag(flags *pflag.FlagSet) {
	*f = formatTable
	flags.VarP(f, "output", "o", "table or json")
}

// Set implements [pflag.Value].
func (f *outputFormat) Set(text string) error {
	if *f = outputFormat(text); *f != formatTable && *f != formatJSON {
		return fmt.Errorf("must be %s or %s", formatTable, formatJSON)
	}
	return nil
}

func (f *outputFormat) String() string { return string(*f) }

// Type implements [pflag.Value].
func (f *outputFormat) Type() string { return "format" }

// lockJSON is a lock in JSON. Times are in milliseconds; tokens are below 2^53, so that
// every JSON parser represents them exactly.
type lockJSON struct {
	Key         string            `json:"key"`
	Owner       string            `json:"owner"`
	Token       uint64            `json:"token"`
	TTLMs       int64             `json:"ttlMs"`
	RemainingMs int64             `json:"remainingMs"`
	Waiters     int               `json:"waiters"`
	DeclaredMs  int64             `json:"declaredMs,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// changeJSON is a lock in an event, which has no remaining time and no waiters.
type changeJSON struct {
	Key        string            `json:"key"`
	Owner      string            `json:"owner"`
	Token      uint64            `json:"token"`
	TTLMs      int64             `json:"ttlMs"`
	DeclaredMs int64             `json:"declaredMs,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
}

// eventJSON is an event in JSON.
type eventJSON struct {
	Kind     string      `json:"kind"`
	Revision uint64      `json:"revision"`
	Missed   bool        `json:"missed,omitempty"`
	Lock     *changeJSON `json:"lock,omitempty"`
	Locks    *[]lockJSON `json:"locks,omitempty"` // of a SNAPSHOT, even if there are none
}

func lockToJSON(l client.LockInfo) lockJSON {
	return lockJSON{
		l.Key, l.Owner, l.Token, l.TTL.Milliseconds(), l.Remaining.Milliseconds(), l.Waiters, l.DeclaredTTL.Milliseconds(), l.Metadata,
	}
}

func locksToJSON(locks []client.LockInfo) []lockJSON {
	rows := make([]lockJSON, len(locks))
	for i, l := range locks {
		rows[i] = lockToJSON(l)
	}
	return rows
}

func eventToJSON(e client.Event) eventJSON {
	out := eventJSON{Kind: e.Kind.String(), Revision: e.Revision, Missed: e.Missed}
	if e.Kind == client.EventSnapshot {
		locks := locksToJSON(e.Locks)
		out.Locks = &locks
	} else {
		l := e.Lock
		out.Lock = &changeJSON{l.Key, l.Owner, l.Token, l.TTL.Milliseconds(), l.DeclaredTTL.Milliseconds(), l.Metadata}
	}
	return out
}

// printJSON writes v in one line, or indented.
func printJSON(w io.Writer, v any, indented bool) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if indented {
		encoder.SetIndent("", "  ")
	}
	return encoder.Encode(v)
}

// printTable writes a header and a line for each lock.
func printTable(w io.Writer, locks []client.LockInfo) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tOWNER\tTOKEN\tTTL\tLEFT\tWAITERS\tDECLARED\tMETADATA")
	for _, l := range locks {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", quoteIfNeeded(l.Key), formatOwner(l), formatToken(l.Token),
			formatDuration(l.TTL), formatDuration(l.Remaining), l.Waiters, formatDuration(l.DeclaredTTL), formatMetadata(l.Metadata))
	}
	return table.Flush()
}

// printDetails writes a line for each property of a lock.
func printDetails(w io.Writer, l client.LockInfo) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "key\t%s\nowner\t%s\ntoken\t%s\nttl\t%s\nleft\t%s\nwaiters\t%d\n",
		quoteIfNeeded(l.Key), formatOwner(l), formatToken(l.Token), formatDuration(l.TTL), formatDuration(l.Remaining), l.Waiters)
	if l.DeclaredTTL > 0 {
		fmt.Fprintf(table, "declared\t%s\n", formatDuration(l.DeclaredTTL))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Metadata)) {
		fmt.Fprintf(table, "%s\t%s\n", quoteIfNeeded(name), quoteIfNeeded(l.Metadata[name]))
	}
	return table.Flush()
}

// printEvent writes a line for an event, or for each lock of a snapshot. The columns have
// fixed widths, because later events are not known.
func printEvent(w io.Writer, at time.Time, e client.Event) error {
	if e.Kind != client.EventSnapshot {
		return printChange(w, at, e.Kind.String(), e.Lock)
	}
	for _, l := range e.Locks {
		state := "FREE"
		if l.Held() {
			state = "HELD"
		}
		if err := printChange(w, at, state, l); err != nil {
			return err
		}
	}
	return nil
}

func printChange(w io.Writer, at time.Time, kind string, l client.LockInfo) error {
	_, err := fmt.Fprintf(w, "%s  %-9s  %-16s  %-20s  %s\n",
		at.Format(time.TimeOnly), kind, formatToken(l.Token), quoteIfNeeded(l.Key), formatOwner(l))
	return err
}

// quoteIfNeeded quotes text unless it is one printable word, so that it cannot look like
// two columns or contain a control sequence of the terminal.
func quoteIfNeeded(text string) string {
	if quoted := strconv.Quote(text); text == "" || strings.ContainsAny(text, " =") || quoted != `"`+text+`"` {
		return quoted
	}
	return text
}

// formatOwner returns the owner, or a dash for a free lock.
func formatOwner(l client.LockInfo) string {
	if !l.Held() {
		return "-"
	}
	return quoteIfNeeded(l.Owner)
}

// formatMetadata returns the metadata as one column, sorted.
func formatMetadata(metadata map[string]string) string {
	if len(metadata) == 0 {
		return "-"
	}
	words := make([]string, 0, len(metadata))
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		words = append(words, quoteIfNeeded(name)+"="+quoteIfNeeded(metadata[name]))
	}
	return strings.Join(words, " ")
}

// formatToken returns a fencing token, or a dash for 0.
func formatToken(t uint64) string {
	if t == 0 {
		return "-"
	}
	return strconv.FormatUint(t, 10)
}

// formatDuration returns a duration with about two digits: 40ms, 2.3s, 45s, 12m30s, 6h,
// 3d4h. Zero, which means unknown or none, is a dash.
func formatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return "-"
	case d < time.Second:
		return max(d.Round(time.Millisecond), time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return trimZeroUnits(d.Round(time.Second))
	case d < day:
		return trimZeroUnits(d.Round(time.Minute))
	}
	d = d.Round(time.Hour)
	text := fmt.Sprintf("%dd", d/day)
	if rest := d % day; rest > 0 {
		text += trimZeroUnits(rest)
	}
	return text
}

// trimZeroUnits returns 1h instead of 1h0m0s.
func trimZeroUnits(d time.Duration) string {
	text := d.String()
	if s, ok := strings.CutSuffix(text, "m0s"); ok {
		text = s + "m"
	}
	if s, ok := strings.CutSuffix(text, "h0m"); ok {
		text = s + "h"
	}
	return text
}
