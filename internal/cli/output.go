package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"
)

// formats are what --format takes.
var formats = []string{"table", "json", "yaml", "name"}

// result is what a command found, in a form for each format.
type result struct {
	value any // marshalled for json and yaml
	table func(t *table)
	names []string // one a line for name; what a script would take as arguments
}

// print writes the result in the given format.
func (r result) print(w io.Writer, format string) error {
	switch format {
	case "json":
		return writeJSON(w, r.value)
	case "yaml":
		return writeYAML(w, r.value)
	case "name":
		for _, n := range r.names {
			if _, err := fmt.Fprintln(w, n); err != nil {
				return err
			}
		}
		return nil
	default:
		t := &table{}
		r.table(t)
		return t.write(w)
	}
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// writeYAML writes the value as its JSON would be, so that the names and the order of fields are
// the same in both: JSON is YAML, and only its style is changed.
func writeYAML(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return err
	}
	plain(&doc)
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return err
	}
	return e.Close()
}

// plain takes the flow and quoting style of JSON off a node; the encoder quotes where YAML needs it.
func plain(n *yaml.Node) {
	if len(n.Content) > 0 || n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	for _, child := range n.Content {
		plain(child)
	}
}

// table is text in columns, in blocks one below the other.
type table struct{ blocks [][][]string }

// line adds a line of text that is in no column.
func (t *table) line(format string, args ...any) {
	t.blocks = append(t.blocks, [][]string{{fmt.Sprintf(format, args...)}})
}

// head begins a new block of columns; row adds a row to it.
func (t *table) head(columns ...string) { t.blocks = append(t.blocks, [][]string{columns}) }

func (t *table) row(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	last := len(t.blocks) - 1
	t.blocks[last] = append(t.blocks[last], row)
}

func (t *table) write(w io.Writer) error {
	var b bytes.Buffer
	for _, block := range t.blocks {
		tw := tabwriter.NewWriter(&b, 0, 8, 3, ' ', 0)
		for _, row := range block {
			fmt.Fprintln(tw, strings.Join(row, "\t"))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// ids writes node ids as people list them: 1,2,3.
func ids(list []int32) string {
	text := make([]string, len(list))
	for i, id := range list {
		text[i] = fmt.Sprint(id)
	}
	return strings.Join(text, ",")
}

// plural is a count with its noun: 1 record, 2 records.
func plural[N int | int32 | int64](n N, noun string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
