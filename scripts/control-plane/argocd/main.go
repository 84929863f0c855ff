// Reads objects from standard input, a JSON document a line each, and prints the health that a Lua script gives each of
// them, one word a line. The script is the argument, evaluated as Argo CD does it (util/lua/lua.go, runLua and
// ExecuteHealthLua of v3): the same interpreter, the same libraries, the same second. Called by the tests; must never
// decide anything itself.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Longer than any object that a test has.
const longestLine = 1 << 20

// What Argo CD's gitops-engine knows as a health; anything else it shows as Unknown.
var known = []string{"Unknown", "Progressing", "Suspended", "Healthy", "Degraded", "Missing"}

func main() {
	if len(os.Args) != 2 {
		fatal(fmt.Errorf("expected a file of Lua; got %q", os.Args[1:]))
	}
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		fatal(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, longestLine), longestLine)
	for lines.Scan() {
		var object map[string]any
		if err := json.Unmarshal(lines.Bytes(), &object); err != nil {
			fatal(err)
		}
		health, err := evaluate(string(script), object)
		if err != nil {
			fatal(err)
		}
		fmt.Println(health)
	}
	if err := lines.Err(); err != nil {
		fatal(err)
	}
}

// Without Argo CD's `os`, which tells the time only: the health of an InferenceService does not depend on it.
func evaluate(script string, object map[string]any) (string, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		open := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(open, lua.LString(library.name)); err != nil {
			return "", err
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", decode(state, object))
	if err := state.DoString(script); err != nil {
		return "", err
	}
	table, isTable := state.Get(-1).(*lua.LTable)
	if !isTable {
		return "", fmt.Errorf("expected a table from the script, got %s", state.Get(-1).Type())
	}
	health := table.RawGetString("status").String()
	if !slices.Contains(known, health) {
		return "", fmt.Errorf("no health that Argo CD knows: %q", health)
	}
	if message := table.RawGetString("message").Type(); message != lua.LTString && message != lua.LTNil {
		return "", fmt.Errorf("the message is a %s", message)
	}
	return health, nil
}

// JSON's null is absent in a table.
func decode(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		table := state.CreateTable(len(value), 0)
		for _, item := range value {
			table.Append(decode(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(value))
		for key, item := range value {
			table.RawSetString(key, decode(state, item))
		}
		return table
	}
	return lua.LNil
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "argocd-health:", err)
	os.Exit(1)
}
