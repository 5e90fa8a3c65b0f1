// Command interop is the stock Go client behind a line protocol, so that one driver can check what
// several clients send and receive. The arguments and the lines are in ../README.md.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// note is a property beyond ASCII on purpose: properties are UTF-8 on the wire.
const note = "rúcula 芝麻菜"

func main() {
	if len(os.Args) < 2 {
		fatal("expected: send|transact|receive key=value ...")
	}
	rlog.SetLogLevel("error")
	parsed := options{}
	for _, argument := range os.Args[2:] {
		key, value, found := strings.Cut(argument, "=")
		if !found {
			fatal("expected key=value, found " + argument)
		}
		parsed[key] = value
	}
	switch os.Args[1] {
	case "send":
		send(parsed)
	case "transact":
		transact(parsed)
	case "receive":
		receive(parsed)
	default:
		fatal("unknown command " + os.Args[1])
	}
}

func fatal(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(2)
}

type options map[string]string

func (o options) text(key string) string {
	value, found := o[key]
	if !found {
		fatal("missing argument " + key)
	}
	return value
}

func (o options) or(key, otherwise string) string {
	if value, found := o[key]; found {
		return value
	}
	return otherwise
}

func (o options) number(key string, otherwise int) int {
	value, found := o[key]
	if !found {
		return otherwise
	}
	number, err := strconv.Atoi(value)
	if err != nil {
		fatal(key + ": " + err.Error())
	}
	return number
}

var saying sync.Mutex

// say writes one event as one line, whichever goroutine it comes from.
func say(words ...any) {
	line := fmt.Sprintln(words...)
	saying.Lock()
	defer saying.Unlock()
	os.Stdout.WriteString(line)
}

func oneLine(text string) string {
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(text)
}

// awaitStop blocks until the driver writes a line or goes away.
func awaitStop() {
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}
