/* What this addon offers, as a number. src/base/addon.ts states the same and leaves an addon with another one alone: sources that
 * are newer than what was compiled from them would call functions that are not there. Raise both whenever a function is added or
 * removed, or takes or answers something else. */
#ifndef JUICEFS_VERSION_H
#define JUICEFS_VERSION_H

#define ADDON_VERSION 2

#endif
