/** XML as stores write it in listings: small, flat, no attributes of interest. The parser is loaded with this file, so only by what
 *  lists. */

import { XMLParser } from 'fast-xml-parser'
import { Fault } from '../base/fault.ts'

/** Numbers and dates stay text; `lists` are elements of which there may be several. Names come without their namespace. */
export function parseXml(text: string, lists: readonly string[]): unknown {
  const parser = new XMLParser({
    ignoreAttributes: true,
    removeNSPrefix: true,
    parseTagValue: false,
    trimValues: false,
    htmlEntities: true, // the numeric ones too
    isArray: name => lists.includes(name),
  })
  try {
    return parser.parse(text, true)
  } catch (error) {
    throw new Fault('the answer is no XML', { cause: error })
  }
}
