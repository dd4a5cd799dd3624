package broker

import (
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/config"
	decisions "github.com/chronik-stream/chronik/internal/controller"
	"github.com/chronik-stream/chronik/internal/logging"
	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// AlterConfigs (key 33), versions 0 to 2, at any broker, which has the controller decide; a broker's own configuration at
// that broker. What the request does not name is taken back to its default: use IncrementalAlterConfigs where a single
// property is meant. Levels of loggers are refused, as in Kafka. A success is answered when this broker's own metadata has it.
//
//   - 1: the same.
//   - 2: flexible.
func (b *Broker) alterConfigs(c *call, req *kmsg.AlterConfigsRequest) kmsg.Response {
	alterations := make([]alteration, 0, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		a := alteration{kind: config.Kind(r.ResourceType), r: &clusterv1.AlterConfigs_Resource{Name: r.ResourceName, Replace: true}}
		for _, e := range r.Configs {
			a.change(e.Name, 0, e.Value)
		}
		if a.kind == config.KindBrokerLogger {
			a.refuse(codeInvalidRequest, "levels of loggers are changed by IncrementalAlterConfigs")
		}
		alterations = append(alterations, a)
	}
	b.alter(c, alterations, req.ValidateOnly)
	resp := kmsg.NewPtrAlterConfigsResponse()
	for _, a := range alterations {
		r := kmsg.NewAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(a.kind), text(a.r.Name)
		r.ErrorCode, r.ErrorMessage = a.result()
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}

// alteration is what is asked for one resource and what becomes of it.
type alteration struct {
	kind config.Kind
	r    *clusterv1.AlterConfigs_Resource
	err  *metadata.Error // why it is refused
}

// change adds a change by Kafka's number of the operation.
func (a *alteration) change(name string, op int8, value *string) {
	change := &clusterv1.AlterConfigs_Change{Name: name, Op: clusterv1.ConfigOp(op) + 1}
	switch {
	case !utf8.ValidString(name) || value != nil && !utf8.ValidString(*value):
		a.refuse(metadata.CodeInvalidConfig, "a name or a value is not UTF-8")
	case change.Op == clusterv1.ConfigOp_CONFIG_OP_DELETE: // its value does not matter
	case value == nil:
		a.refuse(codeInvalidRequest, name+" has no value: null is only for DELETE, which takes a setting back to its default")
	default:
		change.Value = *value
	}
	a.r.Changes = append(a.r.Changes, change)
}

// refuse notes the first reason.
func (a *alteration) refuse(code int16, why string) {
	if a.err == nil {
		a.err = metadata.Errorf(code, "%s", why)
	}
}

func (a *alteration) result() (code int16, why *string) {
	if a.err == nil {
		return codeNone, nil
	}
	return a.err.Code, &a.err.Message
}

// alter carries the alterations out that are not refused yet.
func (b *Broker) alter(c *call, alterations []alteration, validateOnly bool) {
	type key struct {
		kind config.Kind
		name string
	}
	times := map[key]int{}
	for i := range alterations {
		a := &alterations[i]
		a.r.Type = int32(a.kind)
		times[key{a.kind, a.r.Name}]++
	}
	img := b.ctl.Image()
	cmd := &clusterv1.AlterConfigs{ValidateOnly: validateOnly}
	var asked []*alteration
	for i := range alterations {
		a := &alterations[i]
		switch {
		case times[key{a.kind, a.r.Name}] > 1:
			a.err = metadata.Errorf(codeInvalidRequest, "the request names the %s %q more than once", a.kind, a.r.Name)
		case a.err != nil:
		case !utf8.ValidString(a.r.Name):
			a.refuse(codeInvalidRequest, "the name of a resource is not UTF-8")
		case a.kind == config.KindBrokerLogger:
			a.err = b.alterLoggers(a.r, validateOnly)
		case a.kind == config.KindBroker:
			a.err = b.checkBroker(img, a.r)
		}
		if a.err == nil && a.kind != config.KindBrokerLogger {
			cmd.Resources = append(cmd.Resources, a.r)
			asked = append(asked, a)
		}
	}
	if len(asked) == 0 {
		return
	}
	began := time.Now()
	answer, err := b.ctl.Submit(c.ctx, &clusterv1.Command{Kind: &clusterv1.Command_AlterConfigs{AlterConfigs: cmd}})
	c.awaited(began)
	if err == nil {
		err = metadata.AnswerError(answer)
	}
	results := answer.GetAlterConfigs().GetResources()
	if err == nil && len(results) != len(asked) {
		err = errors.New("the controller's answer is not for what was asked")
	}
	for i, a := range asked {
		switch {
		case err != nil:
			a.refuse(submitCode(err), err.Error())
		case results[i].GetCode() != 0:
			a.refuse(int16(results[i].GetCode()), results[i].GetMessage())
		}
	}
}

// checkBroker tells why this broker could not run with what is asked for it or for all brokers.
func (b *Broker) checkBroker(img *metadata.Image, r *clusterv1.AlterConfigs_Resource) *metadata.Error {
	if r.GetName() != "" {
		if err := b.isThisBroker(r.GetName()); err != nil {
			return err
		}
	}
	after, err := decisions.AlteredConfigs(img.Config(metadata.ResourceBroker, r.GetName()), r)
	if err != nil {
		return err
	}
	d := config.Dynamic{ClusterDefault: after, Broker: img.Config(metadata.ResourceBroker, strconv.Itoa(int(b.o.NodeID)))}
	if r.GetName() != "" {
		d.ClusterDefault, d.Broker = img.Config(metadata.ResourceBroker, ""), after
	}
	if err := b.o.Configs.CheckBroker(d); err != nil {
		return metadata.Errorf(metadata.CodeInvalidConfig, "%s", err)
	}
	return nil
}

// alterLoggers changes levels of this broker's loggers, all or none. They are not kept: a start begins with log.level.
func (b *Broker) alterLoggers(r *clusterv1.AlterConfigs_Resource, validateOnly bool) *metadata.Error {
	if err := b.isThisBroker(r.GetName()); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, c := range r.GetChanges() {
		var err error
		switch c.GetOp() {
		case clusterv1.ConfigOp_CONFIG_OP_SET:
			err = b.o.Loggers.Check(c.GetName(), c.GetValue())
		case clusterv1.ConfigOp_CONFIG_OP_DELETE:
			err = b.o.Loggers.CheckReset(c.GetName())
		default:
			return metadata.Errorf(codeInvalidRequest, "the level of %q can be set and deleted, nothing else", c.GetName())
		}
		switch {
		case errors.Is(err, logging.ErrRootLevel):
			return metadata.Errorf(codeInvalidRequest, "%s", err)
		case err != nil:
			return metadata.Errorf(metadata.CodeInvalidConfig, "%s", err)
		case seen[c.GetName()]:
			return metadata.Errorf(codeInvalidRequest, "the request names the logger %s twice: name it once", c.GetName())
		}
		seen[c.GetName()] = true
	}
	if validateOnly {
		return nil
	}
	for _, c := range r.GetChanges() {
		var err error
		if c.GetOp() == clusterv1.ConfigOp_CONFIG_OP_SET {
			err = b.o.Loggers.Set(c.GetName(), c.GetValue())
		} else {
			err = b.o.Loggers.Reset(c.GetName())
		}
		if err != nil {
			return metadata.Errorf(metadata.CodeInvalidConfig, "%s", err)
		}
		b.log.Info("the level of a logger was changed", "logger", c.GetName(), "level", c.GetValue())
	}
	return nil
}
