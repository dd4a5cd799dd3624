package rig

import (
	"fmt"
	"os"
	"strings"
)

// WriteTable puts what a command has found between its marks in a page.
func WriteTable(page, command, table string) error {
	begin, end := fmt.Sprintf("<!-- make %s: begin -->\n", command), fmt.Sprintf("<!-- make %s: end -->\n", command)
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no marks %q and %q", page, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(page, []byte(before+begin+table+end+after), 0o644)
}
