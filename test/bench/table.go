package main

// How tables are printed.

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// printLines prints the lines in Markdown, preceded by the conditions of the run.
func printLines(out io.Writer, o options, lines []line) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(out, "%s, %d CPUs (%s), load %s before the run, %s. %d rounds of %g s a side, A and B in turn; "+
		"median (least–most) of the rounds, and of the ratios of the pairs. One lock is two calls: lock, unlock.\n\n",
		time.Now().Format(time.DateOnly), runtime.NumCPU(), cpuModel(), loadBefore, runtime.Version(), o.rounds, o.seconds)
	table := [][]string{{"row", "side A", "side B", "of", "A", "B", "A/B", "aim", "met"}}
	for _, l := range lines {
		table = append(table, l.cells())
	}
	printMarkdown(out, table)
}

// cells returns the line's texts.
func (l line) cells() []string {
	ratios := make([]float64, len(l.a))
	for i := range ratios {
		ratios[i] = l.a[i] / l.b[i]
	}
	goal, met := "", ""
	if l.metric.aim.met != nil {
		goal, met = l.metric.aim.text, "no"
		if l.metric.aim.met(median(l.a), median(ratios)) {
			met = "yes"
		}
	}
	of := strings.TrimSpace(l.metric.name + " " + l.metric.unit)
	return []string{l.row.name, l.row.a.name, l.row.b.name, of, spread(l.a), spread(l.b), spread(ratios), goal, met}
}

// printMarkdown prints a table. Its first row is the head, and columns of numbers are
// aligned to the right.
func printMarkdown(out io.Writer, table [][]string) {
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, cells := range table {
		for i, cell := range cells {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if numeric(table[1:], i) {
				cell, pad = pad+cell, ""
			}
			fmt.Fprintf(out, "| %s%s ", cell, pad)
		}
		fmt.Fprintln(out, "|")
		if n == 0 {
			printRule(out, table, widths)
		}
	}
	fmt.Fprintln(out)
}

func printRule(out io.Writer, table [][]string, widths []int) {
	for i, width := range widths {
		end := "-"
		if numeric(table[1:], i) {
			end = ":"
		}
		fmt.Fprintf(out, "|%s%s", strings.Repeat("-", width+1), end)
	}
	fmt.Fprintln(out, "|")
}

// numeric reports whether the column's texts begin with a digit.
func numeric(table [][]string, column int) bool {
	return len(table) > 0 && !slices.ContainsFunc(table, func(cells []string) bool {
		return cells[column] != "" && (cells[column][0] < '0' || cells[column][0] > '9')
	}) && table[0][column] != ""
}

// spread formats the median of the values, the least and the most.
func spread(values []float64) string {
	if len(values) == 1 {
		return short(values[0])
	}
	return fmt.Sprintf("%s (%s–%s)", short(median(values)), short(slices.Min(values)), short(slices.Max(values)))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}

// short formats the number with three significant digits.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// loadBefore is the load average of the last minute when the program started.
var loadBefore = firstWord("/proc/loadavg")

func firstWord(file string) string {
	text, _ := os.ReadFile(file)
	word, _, _ := strings.Cut(string(text), " ")
	return word
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(text), "model name")
	name, _, _ := strings.Cut(rest, "\n")
	return strings.TrimLeft(name, "\t :")
}
