package group

// Usage is what a group uses, for metrics.
type Usage struct {
	Group   string
	Members int
	Offsets []Committed // sorted by topic and partition
}

// Usage tells what the groups of the shard use, in the order of their names; those that do not fit
// any more into limit, which counts groups and offsets, are left out and counted. It changes nothing and may tell of
// commits that are not in the log yet.
func (m *Machine) Usage(limit int) (list []Usage, leftOut int) {
	for _, id := range m.sorted() {
		g := m.groups[id]
		if limit -= 1 + len(g.offsets); limit < 0 {
			limit += 1 + len(g.offsets)
			leftOut++
			continue
		}
		list = append(list, Usage{Group: id, Members: len(g.members), Offsets: g.sortedOffsets()})
	}
	return list, leftOut
}
