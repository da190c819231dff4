package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is a server that runs as a program of its own. It ends when its standard input does.
type process struct {
	name    string // as it names itself, with its versions
	address string
	command *exec.Cmd
	stdin   io.Closer
	workers []*worker
}

// start runs a program that prints its URL and its name in one line, and gives it workers.
func start(ctx context.Context, command ...string) (*process, error) {
	p := &process{command: exec.CommandContext(ctx, command[0], command[1:]...)}
	p.command.Stderr = os.Stderr
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	where, name, _ := strings.Cut(strings.TrimSpace(line), " ")
	if err == nil {
		p.name = name
		p.address, err = loopback(where)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", command[0], err), p.stop())
	}
	for number := range workers {
		p.workers = append(p.workers, &worker{address: p.address, number: number})
	}
	return p, nil
}

func (p *process) stop() error {
	_ = p.stdin.Close()
	return p.command.Wait()
}

// loopback returns the address of a URL. No other machine gets the load.
func loopback(where string) (string, error) {
	u, err := url.Parse(where)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() || u.Port() == "" {
		return "", fmt.Errorf("%q is not a URL of this machine with a port", where)
	}
	return u.Host, nil
}

// heap is the live heap after two collections, in bytes.
func (p *process) heap() (float64, error) { return p.number(http.MethodGet, "/heap") }

// number asks the server for a number.
func (p *process) number(method, path string) (float64, error) {
	request, err := http.NewRequest(method, "http://"+p.address+path, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: status %d: %s", method, path, response.StatusCode, body)
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(body), 64)
}

// use is the processor time that the server takes for something.
func (p *process) use(do func() error) (time.Duration, error) {
	before, err := p.idleCPU()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := p.idleCPU()
	return after - before, err
}

// idleCPU is the processor time of the server since its start. It waits until the server does nothing more, such as
// collecting garbage.
func (p *process) idleCPU() (time.Duration, error) {
	last, err := p.cpu()
	for range 100 {
		if err != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
		before := last
		if last, err = p.cpu(); last-before < 100*time.Microsecond {
			break
		}
	}
	return last, err
}

// cpu adds up the threads, whose times Linux gives in nanoseconds; that of the process comes in ticks of 10 ms.
func (p *process) cpu() (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.command.Process.Pid))
	if err == nil && len(files) == 0 {
		err = errors.New("no schedstat under /proc: this needs Linux")
	}
	var sum time.Duration
	for _, file := range files {
		content, readErr := os.ReadFile(file)
		used, _, _ := strings.Cut(string(content), " ")
		nanoseconds, parseErr := strconv.ParseInt(used, 10, 64)
		err = errors.Join(err, readErr, parseErr)
		sum += time.Duration(nanoseconds)
	}
	return sum, err
}
