import assert from "node:assert/strict";
import { test } from "node:test";
import { coresOfEach, coresWithin, quotas, usableCores } from "./cores.ts";

const filesOf = (files: Record<string, string>) => (path: string) => files[path];

test("the tightest quota around the process limits its cores, but never below one", () => {
  assert.equal(coresWithin(8, []), 8);
  assert.equal(coresWithin(8, [6.5, 2.9]), 2);
  assert.equal(coresWithin(8, [0.3]), 1);
  assert.ok(usableCores() >= 1);
  assert.deepEqual([1, usableCores() + 1].map(coresOfEach), [usableCores(), 1]);
});

test("cgroup v2 quotas are read from the process's group and those around it", () => {
  const read = filesOf({
    "/proc/self/cgroup": "0::/box/inner\n",
    "/sys/fs/cgroup/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/box/cpu.max": "250000 100000\n",
    "/sys/fs/cgroup/box/inner/cpu.max": "400000 100000\n",
  });
  assert.deepEqual(quotas(read), [2.5, 4]);
});

test("cgroup v1 quotas are read where the cpu controller is mounted", () => {
  const read = filesOf({
    "/proc/self/cgroup": "5:devices:/\n4:cpu,cpuacct:/box\n0::/\n",
    "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
    "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "150000\n",
    "/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
  });
  assert.deepEqual(quotas(read), [1.5]);
});

test("where there are no control groups there is no quota", () => {
  assert.deepEqual(quotas(filesOf({})), []);
});
