// Shared by all client scripts: the task, the clock, and the report.

export const task = JSON.parse(process.argv[2]);
export const result = { events: [], text: "", error: null, leftAt: null };

// Seconds on CLOCK_MONOTONIC, the clock of Python's time.monotonic().
export const now = () => Number(process.hrtime.bigint()) / 1e9;

export const failed = (error) => {
  const words = [error.name, error.code, error.type, error.message, error.cause?.message];
  result.error = words.filter(Boolean).join(" ");
};

export const report = () => {
  process.stdout.write(JSON.stringify(result) + "\n");
};
