// The scenarios of docs/client.md on the TypeScript client in Node.

import { node } from "./adapters.mjs";
import { suite } from "./suite.mjs";

suite(node);
