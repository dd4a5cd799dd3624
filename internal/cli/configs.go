package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/config"
)

// entity is what has dynamic configurations: a topic, a broker, all brokers, a group.
type entity struct {
	kind kmsg.ConfigResourceType
	name string
}

func (e entity) String() string {
	switch {
	case e.kind == kmsg.ConfigResourceTypeTopic:
		return "topic " + e.name
	case e.kind == kmsg.ConfigResourceTypeGroupConfig:
		return "group " + e.name
	case e.name == "":
		return "the cluster's default"
	default:
		return "broker " + e.name
	}
}

// entityFlags are the flags that name an entity; without one it is the cluster's default for brokers.
type entityFlags struct {
	topic, group string
	broker       int32
}

func (f *entityFlags) add(c *client, cmd *cobra.Command) {
	flags := cmd.Flags()
	textVar(flags, &f.topic, "topic", "t", "topic", "of this topic")
	flags.Int32Var(&f.broker, "broker", -1, "of the broker with this `id`; without --topic, --broker, --group: what the whole cluster has")
	flags.Lookup("broker").DefValue = ""
	textVar(flags, &f.group, "group", "g", "group", "of this consumer group")
	_ = cmd.RegisterFlagCompletionFunc("topic", c.completeNames(listTopicNames))
	_ = cmd.RegisterFlagCompletionFunc("group", c.completeNames(listGroupNames))
}

// entity returns what the flags name.
func (f *entityFlags) entity(cmd *cobra.Command) (entity, error) {
	var named []entity
	if cmd.Flags().Changed("topic") {
		named = append(named, entity{kmsg.ConfigResourceTypeTopic, f.topic})
	}
	if cmd.Flags().Changed("broker") {
		if f.broker < 0 {
			return entity{}, usagef("--broker %d: must be a node's id", f.broker)
		}
		named = append(named, entity{kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(f.broker))})
	}
	if cmd.Flags().Changed("group") {
		named = append(named, entity{kmsg.ConfigResourceTypeGroupConfig, f.group})
	}
	switch len(named) {
	case 0:
		return entity{kind: kmsg.ConfigResourceTypeBroker}, nil
	case 1:
		if named[0].name == "" {
			return entity{}, usagef("%s is named with an empty text: give its name", strings.TrimSpace(named[0].String()))
		}
		return named[0], nil
	}
	return entity{}, usagef("--topic, --broker and --group exclude each other: give one of them")
}

// configEntry is one configuration of an entity.
type configEntry struct {
	Name      string          `json:"name"`
	Value     *string         `json:"value"` // null: none, or not told because it is sensitive
	Source    string          `json:"source"`
	ReadOnly  bool            `json:"readOnly"`
	Sensitive bool            `json:"sensitive"`
	Type      string          `json:"type"`
	Synonyms  []configSynonym `json:"synonyms"`
	Doc       string          `json:"documentation,omitempty"`
}

type configSynonym struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Source string  `json:"source"`
}

func (e configEntry) valueText() string {
	if e.Sensitive {
		return "(sensitive)"
	}
	return pointed(e.Value)
}

func pointed(s *string) string {
	if s == nil {
		return "null"
	}
	return orDash(*s)
}

// describeConfigs asks for an entity's configurations: all, or those of the given names.
func (c *client) describeConfigs(ctx context.Context, e entity, names []string) ([]configEntry, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName, resource.ConfigNames = e.kind, e.name, names
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(ctx, c.kgo)
	if err != nil {
		return nil, err
	}
	if len(resp.Resources) != 1 {
		return nil, fmt.Errorf("the answer about the configurations of %s is empty", e)
	}
	r := resp.Resources[0]
	if err := c.entityError(ctx, e, kerr.ErrorForCode(r.ErrorCode), r.ErrorMessage, "read"); err != nil {
		return nil, err
	}
	list := []configEntry{}
	for _, k := range r.Configs {
		entry := configEntry{
			Name: k.Name, Value: k.Value, Source: k.Source.String(), ReadOnly: k.ReadOnly, Sensitive: k.IsSensitive, Type: k.ConfigType.String(), Synonyms: []configSynonym{},
		}
		if k.Documentation != nil {
			entry.Doc = *k.Documentation
		}
		for _, s := range k.ConfigSynonyms {
			entry.Synonyms = append(entry.Synonyms, configSynonym{s.Name, s.Value, s.Source.String()})
		}
		list = append(list, entry)
	}
	slices.SortFunc(list, func(a, b configEntry) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// entityError words what the broker said about one entity.
func (c *client) entityError(ctx context.Context, e entity, err error, message *string, do string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		topics, _ := c.adm.ListTopicsWithInternal(ctx)
		return notFoundf("there is no topic %q%s", e.name, suggest(e.name, topics.Names()))
	}
	text := ""
	if message != nil {
		text = *message
	}
	return fmt.Errorf("cannot %s the configurations of %s: %s", do, e, kafkaError(err, text))
}

// configChange is one change of a configuration.
type configChange struct {
	op    kmsg.IncrementalAlterConfigOp
	name  string
	value *string
}

// parseSet reads name=value, and for lists name+=value and name-=value.
func parseSet(text string) (configChange, error) {
	name, value, ok := strings.Cut(text, "=")
	change := configChange{kmsg.IncrementalAlterConfigOpSet, name, &value}
	if n, more := strings.CutSuffix(name, "+"); more {
		change.op, change.name = kmsg.IncrementalAlterConfigOpAppend, n
	} else if n, less := strings.CutSuffix(name, "-"); less {
		change.op, change.name = kmsg.IncrementalAlterConfigOpSubtract, n
	}
	if !ok || change.name == "" {
		return change, usagef("%s: write name=value, as in retention.ms=3600000", text)
	}
	return change, nil
}

// alterConfigs changes configurations of one or more entities, each of them whole or not at all.
func (c *client) alterConfigs(ctx context.Context, entities []entity, changes []configChange, dryRun bool) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = dryRun
	for _, e := range entities {
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = e.kind, e.name
		for _, change := range changes {
			k := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			k.Name, k.Op, k.Value = change.name, change.op, change.value
			resource.Configs = append(resource.Configs, k)
		}
		req.Resources = append(req.Resources, resource)
	}
	resp, err := req.RequestWith(ctx, c.kgo)
	if err != nil {
		return err
	}
	var changed []string
	var failed error
	t := &table{}
	for _, r := range resp.Resources {
		e := entity{r.ResourceType, r.ResourceName}
		if err := c.entityError(ctx, e, kerr.ErrorForCode(r.ErrorCode), r.ErrorMessage, "change"); err != nil {
			_ = c.fail("%v", err)
			failed = reported(err)
			continue
		}
		changed = append(changed, e.name)
		if dryRun {
			t.line("%s could be changed; nothing was, because of --dry-run", e)
		} else {
			t.line("changed %s", e)
		}
	}
	return errors.Join(c.print(result{value: nonNil(changed), names: changed, table: func(out *table) { *out = *t }}), failed)
}

// dynamicConfig makes the commands under config that talk to a cluster.
func (g *globals) dynamicConfig() []*cobra.Command {
	var list []*cobra.Command
	for _, build := range []func(*client) *cobra.Command{(*client).configGet, (*client).configList, (*client).configSet, (*client).configUnset} {
		c := &client{g: g}
		cmd := build(c)
		c.addFlags(cmd)
		list = append(list, cmd)
	}
	return list
}

func (c *client) configGet() *cobra.Command {
	var f entityFlags
	cmd := &cobra.Command{
		Use:   "get NAME...",
		Short: "Print configurations of a topic, a broker, the cluster or a group, with where each comes from",
		Long: "Prints configurations as a running cluster has them, each with its source and the values that stand behind it:\n" +
			"what would be in force if the one before were unset.",
		Example: "  chronik-server config get retention.ms --topic orders\n  chronik-server config get log.retention.ms --broker 1",
		Args:    someArgs(1, 0, "the name of a configuration"),
	}
	f.add(c, cmd)
	cmd.ValidArgsFunction = completeConfigNames
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		e, err := f.entity(cmd)
		if err != nil {
			return err
		}
		return c.run(cmd, false, func(ctx context.Context) error {
			list, err := c.describeConfigs(ctx, e, names)
			if err != nil {
				return err
			}
			for _, name := range names {
				if !slices.ContainsFunc(list, func(k configEntry) bool { return k.Name == name }) {
					var known []string
					if all, err := c.describeConfigs(ctx, e, nil); err == nil {
						for _, k := range all {
							known = append(known, k.Name)
						}
					}
					return notFoundf("%s has no configuration %q%s", e, name, suggest(name, known))
				}
			}
			return c.print(configResult(list, true))
		})
	}
	return cmd
}

func (c *client) configList() *cobra.Command {
	var f entityFlags
	var changed, synonyms bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the configurations of a topic, a broker, the cluster or a group",
		Example: "  chronik-server config list --topic orders --changed",
		Args:    noArgs,
	}
	f.add(c, cmd)
	cmd.Flags().BoolVar(&changed, "changed", false, "only what is set, not what is the default")
	cmd.Flags().BoolVar(&synonyms, "synonyms", false, "in a table: the values that stand behind each one too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		e, err := f.entity(cmd)
		if err != nil {
			return err
		}
		return c.run(cmd, false, func(ctx context.Context) error {
			list, err := c.describeConfigs(ctx, e, nil)
			if err != nil {
				return err
			}
			if changed {
				list = slices.DeleteFunc(list, func(k configEntry) bool { return k.Source == kmsg.ConfigSourceDefaultConfig.String() })
			}
			return c.print(configResult(list, synonyms))
		})
	}
	return cmd
}

func configResult(list []configEntry, synonyms bool) result {
	r := result{value: list, table: func(t *table) {
		if len(list) == 0 {
			t.line("nothing is set")
			return
		}
		columns := []string{"NAME", "VALUE", "SOURCE", "ACCESS"}
		if synonyms {
			columns = append(columns, "BEHIND IT")
		}
		t.head(columns...)
		for _, k := range list {
			access := "dynamic"
			if k.ReadOnly {
				access = "read-only"
			}
			cells := []any{k.Name, k.valueText(), k.Source, access}
			if synonyms {
				cells = append(cells, orDash(synonymText(k)))
			}
			t.row(cells...)
		}
	}}
	for _, k := range list {
		r.names = append(r.names, k.Name)
	}
	return r
}

// synonymText is what stands behind the value that is in force, in order.
func synonymText(k configEntry) string {
	var text []string
	for i, s := range k.Synonyms {
		if i == 0 && s.Source == k.Source {
			continue // the value itself
		}
		text = append(text, fmt.Sprintf("%s=%s (%s)", s.Name, pointed(s.Value), s.Source))
	}
	return strings.Join(text, ", ")
}

func (c *client) configSet() *cobra.Command {
	var f entityFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "set NAME=VALUE...",
		Short: "Set configurations of a topic, a broker, the cluster or a group",
		Long: "Sets configurations in a running cluster: all of one call, or none. In a list, NAME+=VALUE adds elements and\n" +
			"NAME-=VALUE takes them away.",
		Example: "  chronik-server config set retention.ms=3600000 --topic orders\n  chronik-server config set log.retention.ms=86400000",
		Args:    someArgs(1, 0, "name=value"),
	}
	f.add(c, cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "let the cluster check the values, and change nothing")
	cmd.ValidArgsFunction = completeConfigNames
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e, err := f.entity(cmd)
		if err != nil {
			return err
		}
		var changes []configChange
		for _, arg := range args {
			change, err := parseSet(arg)
			if err != nil {
				return err
			}
			changes = append(changes, change)
		}
		return c.run(cmd, false, func(ctx context.Context) error { return c.alterConfigs(ctx, []entity{e}, changes, dryRun) })
	}
	return cmd
}

func (c *client) configUnset() *cobra.Command {
	var f entityFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:     "unset NAME...",
		Short:   "Take what was set away, so that the default is in force again",
		Example: "  chronik-server config unset retention.ms --topic orders",
		Args:    someArgs(1, 0, "the name of a configuration"),
	}
	f.add(c, cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "let the cluster check it, and change nothing")
	cmd.ValidArgsFunction = completeConfigNames
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		e, err := f.entity(cmd)
		if err != nil {
			return err
		}
		return c.run(cmd, false, func(ctx context.Context) error {
			return c.alterConfigs(ctx, []entity{e}, unsets(names), dryRun)
		})
	}
	return cmd
}

func unsets(names []string) []configChange {
	var changes []configChange
	for _, name := range names {
		changes = append(changes, configChange{op: kmsg.IncrementalAlterConfigOpDelete, name: name})
	}
	return changes
}

// completeConfigNames completes the names of configurations, those of topics where --topic is given.
func completeConfigNames(cmd *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := propertyNames()
	if f := cmd.Flags().Lookup("topic"); f == nil || f.Changed {
		names = nil
		for _, p := range config.TopicProperties() {
			names = append(names, p.Name)
		}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (c *client) topicAlter() *cobra.Command {
	var set, remove []string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "alter NAME...",
		Short: "Change the configurations of topics",
		Example: "  chronik-server topic alter orders -c retention.ms=3600000 -c cleanup.policy=compact\n" +
			"  chronik-server topic alter orders --delete-config retention.ms",
		Args:              someArgs(1, 0, "the name of a topic"),
		ValidArgsFunction: c.completeNames(listTopicNames),
	}
	cmd.Flags().StringArrayVarP(&set, "topic-config", "c", nil, "set a configuration, as `key=value`; may be given again")
	cmd.Flags().StringSliceVar(&remove, "delete-config", nil, "take what was set for these `keys` away, so that the cluster's default is in force again")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "let the cluster check the values, and change nothing")
	_ = cmd.RegisterFlagCompletionFunc("topic-config", completeConfigNames)
	_ = cmd.RegisterFlagCompletionFunc("delete-config", completeConfigNames)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if len(set)+len(remove) == 0 {
			return usagef("topic alter needs what to change: give -c key=value or --delete-config key")
		}
		var changes []configChange
		for _, text := range set {
			change, err := parseSet(text)
			if err != nil {
				return err
			}
			changes = append(changes, change)
		}
		changes = append(changes, unsets(remove)...)
		var topics []entity
		for _, name := range names {
			topics = append(topics, entity{kmsg.ConfigResourceTypeTopic, name})
		}
		return c.run(cmd, false, func(ctx context.Context) error { return c.alterConfigs(ctx, topics, changes, dryRun) })
	}
	return cmd
}

func (c *client) topicAddPartitions() *cobra.Command {
	var to, add int
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "add-partitions NAME...",
		Short: "Give topics more partitions",
		Long: "Gives topics more partitions. Records stay where they are, so from then on a key may go to another partition than before;\n" +
			"partitions cannot be taken away again.",
		Example:           "  chronik-server topic add-partitions orders --to 12",
		Args:              someArgs(1, 0, "the name of a topic"),
		ValidArgsFunction: c.completeNames(listTopicNames),
	}
	cmd.Flags().IntVar(&to, "to", 0, "`number` of partitions each topic is to have in the end")
	cmd.Flags().IntVar(&add, "add", 0, "`number` of partitions each topic is to get in addition")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "let the cluster check it, and change nothing")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if (to > 0) == (add > 0) || to < 0 || add < 0 {
			return usagef("topic add-partitions needs either --to or --add, with 1 or more")
		}
		return c.run(cmd, false, func(ctx context.Context) error {
			topics, err := c.findTopics(ctx, names)
			if err != nil {
				return err
			}
			return c.addPartitions(ctx, topics, names, to, add, dryRun)
		})
	}
	return cmd
}

func (c *client) addPartitions(ctx context.Context, topics kadm.TopicDetails, names []string, to, add int, dryRun bool) error {
	request := map[bool]func(context.Context, int, ...string) (kadm.CreatePartitionsResponses, error){
		false: c.adm.UpdatePartitions, true: c.adm.ValidateUpdatePartitions,
	}[dryRun]
	var rows []topicRow
	var failed error
	t := &table{}
	for _, name := range names {
		had := len(topics[name].Partitions)
		want := to
		if add > 0 {
			want = had + add
		}
		answers, err := request(ctx, want, name)
		if err != nil {
			return err
		}
		a, err := answers.On(name, nil)
		if err == nil {
			err = a.Err
		}
		if err != nil {
			failed = c.fail("cannot give %s %s, it has %d: %s", name, plural(want, "partition"), had, kafkaError(err, a.ErrMessage))
			continue
		}
		row := describeRow(topics[name])
		row.Partitions = want
		rows = append(rows, row)
		if dryRun {
			t.line("%s could have %s instead of %d; nothing was changed, because of --dry-run", name, plural(want, "partition"), had)
		} else {
			t.line("%s has %s now, it had %d", name, plural(want, "partition"), had)
		}
	}
	r := result{value: nonNil(rows), table: func(out *table) { *out = *t }}
	for _, row := range rows {
		r.names = append(r.names, row.Name)
	}
	return errors.Join(c.print(r), failed)
}
