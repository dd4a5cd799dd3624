package broker

// settleProduce appends what Produce requests have put off.
func (s *session) settleProduce() {}
