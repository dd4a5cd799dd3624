package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Type is the type of a property, numbered as Kafka's DescribeConfigs numbers it.
type Type int8

// The types.
const (
	Boolean Type = 1
	String  Type = 2
	Int     Type = 3
	Short   Type = 4
	Long    Type = 5
	Double  Type = 6
	List    Type = 7
	Class   Type = 8 // the name of a class; none is ever loaded

	// Password marks a value that is shown to nobody.
	Password Type = 9
)

// String returns Kafka's name of the type, in lower case.
func (t Type) String() string {
	return [...]string{"unknown", "boolean", "string", "int", "short", "long", "double", "list", "class", "password"}[t]
}

// Change tells whether a property may change while the broker runs, in Kafka's three classes.
type Change int8

// The classes of change.
const (
	ReadOnly        Change = iota // at a start only
	PerBroker                     // for one broker at run time
	ClusterWide                   // for one broker or all at run time
	PerTopic                      // for a topic at run time
	PerGroup                      // for a group at run time
	PerSubscription               // for a subscription of client metrics at run time
)

// String names the class as the reference does.
func (c Change) String() string {
	return [...]string{"read-only", "per-broker", "cluster-wide", "per-topic", "per-group", "per-subscription"}[c]
}

// Property is one row of the table.
type Property struct {
	Name    string // Kafka's name where Kafka has the property
	Type    Type
	Default string // in the form a person would write; "" if there is none
	Limit   Limit
	Change  Change
	Doc     string // whole sentences

	// Kafka is Kafka's default where ours differs, else "".
	Kafka string
	// Own marks a property that Kafka does not have.
	Own bool
	// Unset allows the empty value, which means: not set.
	Unset bool
	// Flag is the command that has a flag for the property: "all", "raft-cluster" or "".
	Flag string
	// NoEffect tells why a value is accepted, kept and shown but changes nothing; "" where it does.
	NoEffect string
	// Synonyms lists the broker properties a topic's or group's property takes its default from, the first that is set.
	Synonyms []string
	// Instead marks a broker property of Kafka that is only shown, as others make it, and tells which to set.
	Instead string

	derived func(*Config) string // what a property with Instead shows

	field func(*Settings) any // where a broker property's value is kept; nil where it has no effect and only its text is
	topic func(*Topic) any    // where a topic property's value is kept
	from  func(*Settings) any // where a topic property's default is kept, of the same type
}

// FlagName returns the property's flag without dashes in front: kafka.port is kafka-port.
func (p *Property) FlagName() string { return strings.ReplaceAll(p.Name, ".", "-") }

// EnvName returns the property's environment variable: kafka.port is CHRONIK_KAFKA_PORT.
func (p *Property) EnvName() string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(p.Name))
}

// Limit is what a value must satisfy beyond its type.
type Limit struct {
	Text  string // as the reference shows it: "[1,...]", "one of: text, json"
	check func(any) error
}

func atLeast(low int64) Limit {
	return Limit{fmt.Sprintf("[%d,...]", low), func(v any) error {
		if n, ok := number(v); ok && n < float64(low) {
			return fmt.Errorf("must be at least %d", low)
		}
		return nil
	}}
}

func between(low, high int64) Limit {
	return Limit{fmt.Sprintf("[%d,...,%d]", low, high), func(v any) error {
		if n, ok := number(v); ok && (n < float64(low) || n > float64(high)) {
			return fmt.Errorf("must lie between %d and %d", low, high)
		}
		return nil
	}}
}

func fraction() Limit {
	return Limit{"[0,...,1]", func(v any) error {
		if n, ok := number(v); ok && (math.IsNaN(n) || n < 0 || n > 1) {
			return fmt.Errorf("must lie between 0 and 1")
		}
		return nil
	}}
}

func oneOf(choices ...string) Limit {
	text := "one of: " + strings.Join(choices, ", ")
	return Limit{text, func(v any) error {
		list, ok := v.([]string)
		if s, isString := v.(string); isString {
			list, ok = []string{s}, true
		}
		for _, s := range list {
			if ok && !slices.Contains(choices, s) {
				return fmt.Errorf("must be %s", text)
			}
		}
		return nil
	}}
}

func checked(text string, check func(s string) error) Limit {
	return Limit{text, func(v any) error {
		switch v := v.(type) {
		case string:
			return check(v)
		case []string:
			for _, s := range v {
				if err := check(s); err != nil {
					return err
				}
			}
		}
		return nil
	}}
}

// number returns a numeric value in the property's own unit.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	default:
		return 0, false
	}
}

// parse reads text as a value of the property: bool, int64, float64, string or []string, checked
// against the type's range and the limit.
func (p *Property) parse(text string) (any, error) {
	text = strings.TrimSpace(text)
	if text == "" && p.Unset {
		return nil, nil
	}
	v, err := p.Type.parse(text)
	if err != nil {
		return nil, err
	}
	if p.Limit.check != nil {
		if err := p.Limit.check(v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (t Type) parse(text string) (any, error) {
	switch t {
	case Boolean:
		switch strings.ToLower(text) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("is not a boolean: give true or false")
	case Short:
		return parseInt(text, 16)
	case Int:
		return parseInt(text, 32)
	case Long:
		return parseInt(text, 64)
	case Double:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("is not a number")
		}
		return f, nil
	case List:
		return splitList(text), nil
	default:
		return text, nil
	}
}

func parseInt(text string, bits int) (any, error) {
	n, err := strconv.ParseInt(text, 10, bits)
	switch {
	case err == nil:
		return n, nil
	case strings.Contains(err.Error(), "out of range"):
		return nil, fmt.Errorf("is out of range: the largest is %d", int64(1)<<(bits-1)-1)
	default:
		return nil, fmt.Errorf("is not a whole number")
	}
}

func splitList(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// unit is what one of the property's number counts when it is kept as a time.Duration.
func (p *Property) unit() time.Duration {
	switch {
	case strings.HasSuffix(p.Name, ".minutes"):
		return time.Minute
	case strings.HasSuffix(p.Name, ".hours"):
		return time.Hour
	default:
		return time.Millisecond
	}
}

// store keeps a parsed value in the field that target points to.
func (p *Property) store(target, v any) error {
	if v == nil {
		return nil // not set: the zero value stays
	}
	switch to := target.(type) {
	case *bool:
		*to = v.(bool)
	case *int16:
		*to = int16(v.(int64))
	case *int32:
		*to = int32(v.(int64))
	case *int64:
		*to = v.(int64)
	case *float64:
		*to = v.(float64)
	case *string:
		*to = v.(string)
	case *[]string:
		*to = v.([]string)
	case *time.Duration:
		*to = duration(v.(int64), p.unit())
	case *[]Peer:
		peers, err := ParsePeers(v.([]string))
		if err != nil {
			return err
		}
		*to = peers
	default:
		return fmt.Errorf("config: %s is kept in a %T, which has no conversion", p.Name, target)
	}
	return nil
}

// duration converts n units, at most what a time.Duration can hold.
func duration(n int64, unit time.Duration) time.Duration {
	if n > math.MaxInt64/int64(unit) {
		return math.MaxInt64
	}
	return time.Duration(n) * unit
}

// format returns the value kept in the field that target points to, as a person would write it.
func (p *Property) format(target any) string {
	switch v := target.(type) {
	case *bool:
		return strconv.FormatBool(*v)
	case *int16:
		return strconv.FormatInt(int64(*v), 10)
	case *int32:
		return strconv.FormatInt(int64(*v), 10)
	case *int64:
		return strconv.FormatInt(*v, 10)
	case *float64:
		return strconv.FormatFloat(*v, 'g', -1, 64)
	case *string:
		return *v
	case *[]string:
		return strings.Join(*v, ",")
	case *time.Duration:
		return strconv.FormatInt(int64(*v/p.unit()), 10)
	case *[]Peer:
		var list []string
		for _, peer := range *v {
			list = append(list, peer.String())
		}
		return strings.Join(list, ",")
	default:
		return fmt.Sprint(target)
	}
}
