// Shared by the scripts that chat with the AI SDK: the state of a chat without React, and a React component in a real
// browser. What a script does not use is not loaded.

import { result, task } from "./task.mjs";

// What useChat keeps in React, kept in a plain object: for AbstractChat.
export function chatState() {
  const state = {
    status: "ready",
    error: undefined,
    messages: [],
    pushMessage: (message) => {
      state.messages = [...state.messages, message];
    },
    popMessage: () => {
      state.messages = state.messages.slice(0, -1);
    },
    replaceMessage: (at, message) => {
      state.messages = state.messages.map((old, index) => (index === at ? structuredClone(message) : old));
    },
    snapshot: (value) => structuredClone(value),
  };
  return state;
}

// Bundles the component `Chat` of the task, with the packages that the task names for it, into a script for a page.
export async function bundled() {
  const { build } = await import("esbuild");
  const entry = `${task.source}
import { createRoot } from "react-dom/client";
createRoot(document.body.appendChild(document.createElement("div"))).render(<Chat />);
`;
  const bundle = await build({
    stdin: { contents: entry, loader: "jsx", resolveDir: import.meta.dirname },
    // From where this script is, in every module: the component and useChat share one copy.
    alias: task.packages,
    absWorkingDir: import.meta.dirname,
    bundle: true,
    define: { "process.env": "{}", "process.env.NODE_ENV": '"production"' },
    jsx: "automatic",
    logLevel: "error",
    write: false,
  });
  return bundle.outputFiles[0].text;
}

// Gives `use` a page of a new browser. Afterwards reports what its element with the role `alert` says.
export async function inPage(use) {
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu"],
  });
  try {
    const page = await browser.newPage();
    await use(page);
    const alert = page.getByRole("alert");
    if (await alert.count()) result.error = await alert.innerText();
  } finally {
    await browser.close();
  }
}
