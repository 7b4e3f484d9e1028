import { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { currentCall } from "../../runtime/call-context.js";
import { roleName } from "../../runtime/identity/access.js";
import type { Viewer } from "./store/store.js";

/**
 * The names under which access lists know the current caller: its user, and its role with those that the role contains.
 * Administrators see everything.
 */
export function currentViewer(): Viewer {
  const { user, roles = [] } = currentCall()?.identity ?? {};
  if (roles.includes(Role.ADMIN)) return undefined;
  const contained = [Role.READER, Role.WRITER].filter((role) => roles.some((held) => held >= role));
  return [...(user === undefined ? [] : [`user:${user}`]), ...contained.map((role) => `role:${roleName(role)}`)];
}
