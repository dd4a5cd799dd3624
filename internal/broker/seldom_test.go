package broker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/listener"
)

func TestSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		var s seldom
		for range 250 { // 25 s
			s.warn(log, "again", "by", "x")
			time.Sleep(100 * time.Millisecond)
		}
		if n := strings.Count(out.String(), "again"); n != 3 {
			t.Errorf("%d lines in 25 s:\n%s", n, &out)
		}
		if n := strings.Count(out.String(), "more_not_logged=99"); n != 2 {
			t.Errorf("%d lines tell how many were left out:\n%s", n, &out)
		}
	})
}

// A producer that asks again and again with its transactional id does not fill the log.
func TestTransactionalProducersAreLoggedSeldom(t *testing.T) {
	var out bytes.Buffer
	b := &Broker{log: slog.New(slog.NewTextHandler(&out, nil))}
	id := "payments"
	for range 100 {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID = &id
		b.initProducerID(&call{session: &session{client: new(listener.Client)}}, req)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), id) {
		t.Errorf("%d lines:\n%s", n, &out)
	}
}
