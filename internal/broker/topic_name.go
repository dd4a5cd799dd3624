package broker

import (
	"strings"

	decisions "github.com/chronik-stream/chronik/internal/controller"
)

// validTopicName tells whether the controller would take the name for a new topic.
func validTopicName(name string) bool { return decisions.CheckTopicName(name) == nil }

// text makes a client's string one that a command can hold: protobuf's strings are UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "?") }
