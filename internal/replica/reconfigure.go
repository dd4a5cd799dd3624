package replica

import "github.com/chronik-stream/chronik/internal/metadata"

// Reconfigure resolves the settings of every topic anew: the defaults of this broker have changed. It must be called by
// the goroutine that calls OnImage.
func (m *Manager) Reconfigure() {
	img := m.img.Load()
	m.table.RLock()
	ids := make([]metadata.ID, 0, len(m.ids))
	for id := range m.ids {
		ids = append(ids, id)
	}
	m.table.RUnlock()
	for _, id := range ids {
		if t := img.TopicByID(id); t != nil {
			c := m.o.Resolve(t.Configs)
			m.reconfigure(t, &c)
		}
	}
	poke(m.wake)
}
