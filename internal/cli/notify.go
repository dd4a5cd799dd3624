package cli

import (
	"log/slog"
	"net"
	"strings"
)

// notify tells systemd how the service is ("READY=1", "STOPPING=1"), where systemd has asked for
// it: a datagram to the socket that NOTIFY_SOCKET names, as sd_notify(3) describes.
func (p *Program) notify(logger *slog.Logger, state string) {
	socket := p.getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	if name, abstract := strings.CutPrefix(socket, "@"); abstract {
		socket = "\x00" + name
	}
	conn, err := net.Dial("unixgram", socket)
	if err == nil {
		_, err = conn.Write([]byte(state))
		conn.Close()
	}
	if err != nil {
		logger.Warn("cannot tell systemd", "state", state, "error", err)
	}
}
