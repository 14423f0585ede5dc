package runtime

import (
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/seed-c851cfd2/moec/codegen/plan"
)

// Trace collects the steps of runs as Chrome trace events, which Perfetto opens.
type Trace struct {
	start  time.Time
	events []traceEvent
}

type traceEvent struct {
	Name  string            `json:"name"`
	Cat   string            `json:"cat"`
	Phase string            `json:"ph"`
	TS    float64           `json:"ts"`  // microseconds since the trace began
	Dur   float64           `json:"dur"` // microseconds
	PID   int               `json:"pid"`
	TID   int               `json:"tid"`
	Args  map[string]string `json:"args,omitempty"`
}

// NewTrace begins a trace now.
func NewTrace() *Trace { return &Trace{start: time.Now()} }

// Observer records the steps of one run at a time.
func (t *Trace) Observer() *Observer {
	return &Observer{Step: func(st *plan.Step, start time.Time, took time.Duration) {
		name := st.Name
		if len(st.Origin) > 0 {
			name = strings.Join(st.Origin, "+")
		}
		t.events = append(t.events, traceEvent{
			Name: name, Cat: st.Op.String(), Phase: "X",
			TS:  float64(start.Sub(t.start).Nanoseconds()) / 1e3,
			Dur: float64(took.Nanoseconds()) / 1e3, PID: 1, TID: 1,
			Args: map[string]string{"op": st.Op.String(), "kernel": st.Kernel, "step": st.Name},
		})
	}}
}

// Write writes the trace as JSON.
func (t *Trace) Write(w io.Writer) error {
	return json.NewEncoder(w).Encode(map[string]any{"traceEvents": t.events, "displayTimeUnit": "ms"})
}
