package main

// The workers: processes of one program (peers/) that use locks, ours and others.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// workers use one locker concurrently.
type workers []*worker

// worker is a process of the program.
type worker struct {
	*process
	in  io.WriteCloser
	out *json.Decoder
}

// grace is how long callers may wait after the end of the interval. A caller without the
// lock is then stuck.
const grace = 10 * time.Second

// startWorkers starts n workers, which stop when the row ends. Together they have the
// given number of callers, which all use one key if hold is positive, and otherwise one
// each.
func (l *env) startWorkers(which locker, n, callers int, hold time.Duration) (workers, error) {
	file, err := l.counterFile()
	if err != nil {
		return nil, err
	}
	var all workers
	for i := range n {
		addr, err := which.server(l, i)
		if err != nil {
			return nil, err
		}
		args := []string{"--locks", which.key, "--addr", addr, "--callers", strconv.Itoa(callers / n), "--grace", grace.String()}
		if hold > 0 {
			args = append(args, "--hold", hold.String(), "--counter-file", file)
		}
		w, err := l.startWorker(args)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

// counterFile creates the file with the number of holders.
func (l *env) counterFile() (string, error) {
	folder, err := l.subfolder()
	if err != nil {
		return "", err
	}
	file := filepath.Join(folder, "holders")
	return file, os.WriteFile(file, make([]byte, 8), 0o600)
}

func (l *env) startWorker(args []string) (*worker, error) {
	binary, err := l.peersBinary()
	if err != nil {
		return nil, err
	}
	folder, err := l.subfolder()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p, err := spawn(folder, cmd)
	if err != nil {
		return nil, err
	}
	l.row.add(p.stop)
	return &worker{p, in, json.NewDecoder(out)}, nil
}

// run runs the workers for the interval and adds up their results.
func (w workers) run(ctx context.Context, interval time.Duration) (result, error) {
	for _, each := range w {
		if _, err := fmt.Fprintln(each.in, interval); err != nil {
			return result{}, each.fail("does not read its input", err)
		}
	}
	var sum result
	for _, each := range w {
		r, err := each.readResult(ctx, interval+grace+startTimeout)
		if err != nil {
			return result{}, err
		}
		sum.add(r)
	}
	return sum, nil
}

// readResult waits for the worker's next result. It kills the worker after a timeout.
func (w *worker) readResult(ctx context.Context, limit time.Duration) (r result, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = w.cmd.Process.Kill() })()
	if err = w.out.Decode(&r); err != nil {
		err = w.fail("did not respond", err)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return r, err
}

// logs returns the workers' error output.
func (w workers) logs() string {
	var all strings.Builder
	for _, each := range w {
		text, _ := os.ReadFile(each.log)
		all.Write(text)
	}
	return all.String()
}

// uncontended is the side where each caller has its own lock.
func uncontended(which locker, callers int) side {
	return side{which.name, func(ctx context.Context, l *env) (sampler, error) {
		w, err := l.startWorkers(which, 1, callers, 0)
		if err != nil {
			return nil, err
		}
		sample := func(ctx context.Context) ([]float64, error) {
			r, err := w.run(ctx, l.interval())
			if failures := r.failures(); err == nil && failures != "" {
				err = fmt.Errorf("%s\n%s", failures, w.logs())
			}
			return []float64{r.perSecond()}, err
		}
		_, err = w.run(ctx, l.interval()/5) // to warm up
		return sample, err
	}}
}
