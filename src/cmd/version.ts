/** Our version, and the one we show: it must parse as that of the JuiceFS features we implement (scripts and other clients
 *  compare it), with our own behind the plus. */

export const OUR_VERSION = '0.1.0'
export const SHOWN_VERSION = `1.4.1+juicefs-ts.${OUR_VERSION}`
export const versionLine = (): string => `juicefs version ${SHOWN_VERSION}`
