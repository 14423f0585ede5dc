package mutate

import (
	"strings"
	"testing"
)

const kernel = `.version 7.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 p)
{
	.reg .b32 %r<4>; .reg .b64 %d<4>; .reg .pred %q;
	@%q bra END;
	cp.async.cg.shared.global [%r1], [%d1], 16, %r2;
	cp.async.wait_group 1;
	wgmma.wait_group.sync.aligned 0;
	mbarrier.try_wait.parity.shared.b64 %q, [%r1], 0;
	bar.sync 0;
	bar.warp.sync -1;
	membar.gl;
	@!%q ld.acquire.gpu.global.u32 %r3, [%d1];
END:
	ret;
}
`

func TestOf(t *testing.T) {
	ms, err := Of(kernel)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // what the mutant's text has, or lacks with a "-"
		"skip#0": "-bra END", "zerofill#0": "[%d1], 16;", "wait#0": "-wait_group 1", "loosen#0": "cp.async.wait_group 2",
		"wait#1": "-wgmma", "loosen#1": "wgmma.wait_group.sync.aligned 1", "wait#2": "setp.eq.u32 %q, 0, 0;",
		"barrier#0": "-bar.sync", "warpsync#0": "-bar.warp", "fence#0": "-membar", "order#0": "ld.relaxed.gpu", "guard#0": "\tld.acquire",
	}
	if len(ms) != len(want) {
		t.Errorf("%d mutants, expected %d", len(ms), len(want))
	}
	for _, m := range ms {
		w, ok := want[m.Name]
		text, lacks := strings.CutPrefix(w, "-")
		if !ok || strings.Contains(m.Source, text) == lacks {
			t.Errorf("%s:\n%s", m, m.Source)
		}
		if m.Source == kernel || m.Line == 0 || m.Kernel != "k" {
			t.Errorf("%s changes nothing or does not say where", m)
		}
	}
	if some, _ := Of(kernel, Fence); len(some) != 1 || some[0].Name != "fence#0" {
		t.Errorf("of one kind: %v", some)
	}
	if _, err := Of("nonsense"); err == nil {
		t.Error("nonsense has mutants")
	}
}
