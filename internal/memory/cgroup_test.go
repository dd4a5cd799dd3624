package memory

import (
	"errors"
	"testing"
)

func TestGranted(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"another system", nil, 0},
		{"no limit", map[string]string{ownGroups: "0::/\n", "/sys/fs/cgroup/memory.max": "max\n"}, 0},
		{"a container", map[string]string{ownGroups: "0::/\n", "/sys/fs/cgroup/memory.max": "536870912\n"}, 512 << 20},
		{"a container that is shown the host's path", map[string]string{ownGroups: "0::/../x\n", "/sys/fs/cgroup/memory.max": "1000\n"}, 1000},
		{"a unit within a smaller slice", map[string]string{
			ownGroups:                           "0::/a.slice/b.service\n",
			"/sys/fs/cgroup/a.slice/memory.max": "2000\n",
			"/sys/fs/cgroup/a.slice/b.service/memory.max": "3000\n",
		}, 2000},
		{"version 1", map[string]string{
			ownGroups: "12:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n1:name=systemd:/docker/1\n",
			"/sys/fs/cgroup/memory/memory.limit_in_bytes": "4000\n",
		}, 4000},
		{"version 1, none", map[string]string{
			ownGroups: "4:memory:/\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0},
		{"nonsense", map[string]string{ownGroups: "x\n\n::\n0::\n", "/sys/fs/cgroup/memory.max": "-5"}, 0},
	} {
		got := Granted(func(name string) ([]byte, error) {
			if text, ok := c.files[name]; ok {
				return []byte(text), nil
			}
			return nil, errors.New("no such file")
		})
		if got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
