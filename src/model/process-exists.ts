/** Whether a process of this host lives. */
export function processExists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // A process of another user may not be sent signals, and exists.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
