package harness

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Usage is what a process has used so far.
type Usage struct {
	CPU         float64 `json:"cpu_us"`
	Allocations *uint64 `json:"allocations"`
	Memory      uint64  `json:"memory_bytes"`
}

func usageNow() Usage {
	usage := Usage{CPU: cpuMicros(), Memory: anonymousMemory()}
	// Reading this stops the world, so only if it is asked for.
	if os.Getenv("PEERS_COUNT_ALLOCATIONS") != "" {
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		usage.Allocations = &memory.Mallocs
	}
	return usage
}

func (usage Usage) since(before Usage) Usage {
	usage.CPU -= before.CPU
	usage.Memory -= min(before.Memory, usage.Memory)
	if usage.Allocations != nil && before.Allocations != nil {
		count := *usage.Allocations - *before.Allocations
		usage.Allocations = &count
	}
	return usage
}

func cpuMicros() float64 {
	var used syscall.Rusage
	// Fails for no process that is this one.
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e3
}

// anonymousMemory is 0 where the system does not tell.
func anonymousMemory() uint64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "RssAnon:"); found {
			kib, _ := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			return kib * 1024
		}
	}
	return 0
}
