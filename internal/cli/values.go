package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// word is a flag's text, with a word of its own for it in the help.
type word struct {
	value *string
	what  string
}

func (w word) String() string {
	if w.value == nil {
		return ""
	}
	return *w.value
}

// Set implements pflag.Value.
func (w word) Set(s string) error {
	*w.value = s
	return nil
}

// Type implements pflag.Value: it is what the help shows behind the flag.
func (w word) Type() string { return w.what }

// choice is a flag that takes one of a few words.
type choice struct {
	value   *string
	allowed []string
}

func (c choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

// Set implements pflag.Value.
func (c choice) Set(s string) error {
	if !slices.Contains(c.allowed, s) {
		return fmt.Errorf("must be one of %s", strings.Join(c.allowed, ", "))
	}
	*c.value = s
	return nil
}

// Type implements pflag.Value.
func (c choice) Type() string { return strings.Join(c.allowed, "|") }

// textVar adds a flag for a text that the help calls what.
func textVar(flags *pflag.FlagSet, value *string, name, shorthand, what, usage string) {
	flags.VarP(word{value, what}, name, shorthand, usage)
}

// choiceVar adds a flag that takes one of the allowed words; the first is the default.
func choiceVar(flags *pflag.FlagSet, value *string, name, shorthand, usage string, allowed ...string) {
	*value = allowed[0]
	flags.VarP(choice{value, allowed}, name, shorthand, usage)
}

// formatVar adds --format, which every command has that shows something.
func formatVar(flags *pflag.FlagSet, value *string) {
	choiceVar(flags, value, "format", "", "form of the output", formats...)
}
