package config

import (
	"fmt"
	"strings"
)

// Error says what is wrong with one value, why, and what to do.
type Error struct {
	Place string // where the value stands: chronik.yaml:3, CHRONIK_NODE_ID, --node-id; "" for a topic's
	Name  string // the property, or what was taken for one
	Value string
	Why   string
	Hint  string // what to do
}

// Error returns one line: the place and the value as the person wrote them, why, what to do.
func (e *Error) Error() string {
	subject := e.Name
	if e.Value != "" {
		subject += "=" + e.Value
	}
	p := &Property{Name: e.Name}
	switch {
	case e.Place == "":
	case e.Place == "--"+p.FlagName(): // --kafka-port 70000
		subject = strings.TrimSpace(e.Place + " " + e.Value)
	case e.Place == p.EnvName(): // CHRONIK_KAFKA_PORT=70000
		subject = e.Place
		if e.Value != "" {
			subject += "=" + e.Value
		}
	case e.Place == "-o": // -o kafka.port=70000
		subject = "-o " + subject
	case e.Name == "":
		subject = e.Place
	default: // chronik.yaml:3: kafka.port=70000
		subject = e.Place + ": " + subject
	}
	text := e.Why
	if subject != "" {
		text = subject + ": " + text
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Errors is everything that is wrong with a configuration, in the order it was found.
type Errors []error

// Error returns the first error and how many more there are.
func (e Errors) Error() string {
	if len(e) == 1 {
		return e[0].Error()
	}
	return fmt.Sprintf("%v (and %d more: chronik-server config validate lists them)", e[0], len(e)-1)
}

// Unwrap gives the single errors to errors.Is and errors.As.
func (e Errors) Unwrap() []error { return e }

// unknown reports a name that is not among the known ones, with the nearest of them.
func unknown(what, name string, known []string, hint string) *Error {
	e := &Error{Name: name, Why: "there is no such " + what, Hint: hint}
	if e.Hint == "" {
		if near := Nearest(name, known); near != "" {
			e.Hint = "did you mean " + near + "?"
		}
	}
	return e
}

// Nearest returns the known name with the smallest edit distance to name, "" if none is near
// enough to be meant; of several the first in their order. Names come from clients too, so no long one is compared
// with anything: one that differs in length by as much as a distance may be is not near.
func Nearest(name string, known []string) string {
	best, bestDistance := "", max(2, len(name)/4)+1
	for _, k := range known {
		if d := max(len(name)-len(k), len(k)-len(name)); d > bestDistance || d == bestDistance && best == "" {
			continue
		}
		d := distance(strings.ToLower(name), strings.ToLower(k), bestDistance)
		if d < bestDistance || d == bestDistance && best != "" && k < best {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, substitutions and swaps of neighbours that
// turn a into b, or any number above most if that is more than most.
func distance(a, b string, most int) int {
	before := make([]int, len(b)+1)
	last := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least > most+1 { // a swap may still win back one
			return least
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
