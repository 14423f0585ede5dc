package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"moec": func() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs every command as a user types it. $DATA is tests/testdata.
func TestScripts(t *testing.T) {
	data, err := filepath.Abs("../../tests/testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("DATA", data)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// exitcode N moec ARGS... runs moec and wants that exit code.
			"exitcode": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec("moec", args[2:]...)
				code := "0"
				if err != nil {
					code = err.Error()
				}
				if want := map[string]string{"0": "0"}[args[0]]; want != code && code != "exit status "+args[0] {
					ts.Fatalf("moec %v: %s, want exit code %s", args[2:], code, args[0])
				}
			},
		},
	})
}
