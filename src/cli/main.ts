#!/usr/bin/env node
import { UsageError } from "./arguments.ts";
import { joinNegatives, lastGiven, nearest } from "./command-line.ts";
import { printProblem } from "./notice.ts";
import { program } from "./program.ts";

/** cac compares a command's name with one argument: that of `bench model` is two. */
function joinedName(argv: readonly string[]): string[] {
  const [node, script, name, next, ...rest] = argv;
  const joined = `${name} ${next}`;
  if (!program.commands.some((command) => command.name === joined)) return [...argv];
  return [node, script, joined, ...rest];
}

function unknown(name: string): string {
  const longer = program.commands
    .map((command) => command.name)
    .filter((each) => each.startsWith(`${name} `));
  if (longer.length > 0) return `unknown command ${name}; expected ${longer.join(", ")}`;
  const meant = nearest(
    name,
    program.commands.map((command) => command.name),
  );
  return `unknown command ${name}${meant === undefined ? "" : `; did you mean ${meant}?`}`;
}

/** Commands whose `--model` may be given for each of several. */
const takesModels: ReadonlySet<string> = new Set(["serve", "node"]);

async function main(): Promise<void> {
  try {
    program.parse(joinedName(joinNegatives(process.argv)), { run: false });
    const { name = "" } = program.matchedCommand ?? {};
    lastGiven(program.options, takesModels.has(name) ? ["model"] : []);
    if (!program.matchedCommand && !program.options["help"] && !program.options["version"]) {
      if (program.args.length > 0) throw new UsageError(unknown(program.args[0]));
      program.outputHelp();
    }
    await program.runMatchedCommand();
  } catch (error) {
    process.exitCode = printProblem(error);
  }
}

await main();
