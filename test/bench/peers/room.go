package main

// The room that a lock guards: whoever holds the lock goes in, and looks whether somebody
// is there.

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// room counts who is inside, over all processes that have opened its file.
type room struct {
	memory   []byte
	inside   *atomic.Int64
	overlaps atomic.Int64 // how often this process found somebody inside
}

// openRoom maps a file that exists, and that is at least 8 bytes long.
func openRoom(file string) (*room, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const size = int(unsafe.Sizeof(atomic.Int64{}))
	memory, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return &room{memory: memory, inside: (*atomic.Int64)(unsafe.Pointer(&memory[0]))}, nil
}

func (r *room) enter() {
	if r.inside.Add(1) != 1 {
		r.overlaps.Add(1)
	}
}

func (r *room) leave() { r.inside.Add(-1) }

func (r *room) close() { _ = syscall.Munmap(r.memory) }
