package observe

// Failing reports the component as failing until recovered is called. It is for a
// component whose store is not open yet, and so cannot be asked.
func (h *Health) Failing(component string) (recovered func()) {
	p := &healthTarget{component: component, failed: pings}
	h.add(p)
	return func() { h.remove(p) }
}
